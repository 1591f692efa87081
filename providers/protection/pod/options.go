// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const group = "pod_backup_protection_plugin"

// Options are read from the provider file.
var Options = []config.Option{
	{Group: group, Name: "poll_interval", Kind: config.Int, Default: 15, Help: "Seconds between two looks at the phase of restored pods."},
	{Group: group, Name: "poll_timeout", Kind: config.Int, Default: 86400, Min: config.Bound(0), Help: "Seconds after which the wait for a pod fails; a day. 0 is never, as in the original."},
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		PollInterval: time.Duration(cfg.Int64(group, "poll_interval")) * time.Second,
		PollTimeout:  time.Duration(cfg.Int64(group, "poll_timeout")) * time.Second,
	}
}
