// SPDX-License-Identifier: Apache-2.0

package image

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const group = "image_backup_plugin"

// Options are read from the provider file.
var Options = []config.Option{
	{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 10 * pieceSize, Help: "Bytes of one object of image data in the bank, a multiple of 65536."},
	{Group: group, Name: "poll_interval", Kind: config.Int, Default: 10, Help: "Seconds between two looks at the status of an image or server."},
	{Group: group, Name: "poll_timeout", Kind: config.Int, Default: 86400, Min: config.Bound(0), Help: "Seconds after which such a wait fails; a day. 0 is never, as in the original."},
	{Group: group, Name: "enable_server_snapshot", Kind: config.Bool, Default: true, Help: "Protect a snapshot of the server in place of the image that it was booted from."},
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		ObjectSize:     cfg.Int(group, "backup_image_object_size"),
		PollInterval:   time.Duration(cfg.Int64(group, "poll_interval")) * time.Second,
		PollTimeout:    time.Duration(cfg.Int64(group, "poll_timeout")) * time.Second,
		ServerSnapshot: cfg.Bool(group, "enable_server_snapshot"),
	}
}
