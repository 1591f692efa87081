// SPDX-License-Identifier: Apache-2.0

package janitor

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const (
	day              = 24 * time.Hour
	defaultRetention = 7 * day
)

// Options are the options of the janitor in [DEFAULT] of karbor.conf.
func Options() []config.Option {
	return []config.Option{
		{Name: "janitor_interval", Kind: config.Int, Default: 3600, Min: config.Bound(0), Max: config.Bound(int64(365 * day / time.Second)),
			Help: "Seconds between two looks at the banks for checkpoints whose worker is gone, for index entries that are missing or lead " +
				"to nothing, and for data without a checkpoint. What looks wrong is mended after ten minutes, or after lease_expire_window, " +
				"at the earliest. One worker at a time looks. 0 turns it off."},
		{Name: "operation_retention", Kind: config.Int, Default: int(defaultRetention / day), Min: config.Bound(1), Max: config.Bound(36500),
			Help: "Days for which the journal keeps operations that have ended: to list them, and to recognise messages that are " +
				"delivered again."},
		{Name: "tombstone_retention", Kind: config.Int, Default: 0, Min: config.Bound(0), Max: config.Bound(36500),
			Help: "Days, from when it was made, after which the janitor removes what is left of a checkpoint that was deleted: its index.json, " +
				"by which it is shown as deleted. 0 means never, as in the original."},
	}
}

// FromConfig returns a Config with the values of the options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Interval:  time.Duration(cfg.Int64(config.DefaultGroup, "janitor_interval")) * time.Second,
		Retention: time.Duration(cfg.Int64(config.DefaultGroup, "operation_retention")) * day,

		Tombstones: time.Duration(cfg.Int64(config.DefaultGroup, "tombstone_retention")) * day,
	}
}
