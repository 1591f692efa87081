// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const group = "volume_glance_plugin"

// Options are read from the provider file.
var Options = []config.Option{
	{Group: group, Name: "poll_interval", Kind: config.Int, Default: 15, Help: "Seconds between two looks at the status of volumes, snapshots and images."},
	{Group: group, Name: "poll_timeout", Kind: config.Int, Default: 604800, Min: config.Bound(0), Help: "Seconds after which such a wait fails; a week, which data may take. 0 is never, as in the original."},
	{Group: group, Name: "backup_from_snapshot", Kind: config.Bool, Default: true, Help: "Upload a temporary volume made from a snapshot, not the volume itself."},
	{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 512 * pieceSize, Help: "Bytes of one object of volume data in the bank, rounded down to a multiple of 65536."},
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		PollInterval: time.Duration(cfg.Int64(group, "poll_interval")) * time.Second,
		PollTimeout:  time.Duration(cfg.Int64(group, "poll_timeout")) * time.Second,
		FromSnapshot: cfg.Bool(group, "backup_from_snapshot"),
		ObjectSize:   cfg.Int(group, "backup_image_object_size"),
	}
}
