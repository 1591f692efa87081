// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
)

// Clients makes Cinder clients for the caller of a context.
type Clients interface {
	BlockStorage(ctx context.Context) (*gophercloud.ServiceClient, error)
}
