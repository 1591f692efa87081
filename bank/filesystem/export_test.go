// SPDX-License-Identifier: Apache-2.0

package filesystem

import (
	"time"

	"github.com/karbor-project/karbor/bank"
)

// Settle has files tell their versions from an age on.
func Settle(p bank.Plugin, age time.Duration) { p.(*store).settled = age }
