// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const (
	defaultHold = 30 * time.Second
	defaultScan = 2 * time.Second
)

// Options are the options of ownership, in [DEFAULT] of karbor.conf.
func Options() []config.Option {
	return []config.Option{
		{Name: "operation_owner_hold", Kind: config.Int, Default: int(defaultHold.Seconds()), Min: config.Bound(2),
			Help: "Seconds after which the operations of a worker that died, or cannot reach the database, " +
				"go to other workers. A worker announces itself three times as often. The same for all workers."},
		{Name: "operation_owner_margin", Kind: config.Int, Default: 0, Min: config.Bound(0),
			Help: "Seconds before the end of operation_owner_hold at which a worker that cannot announce itself " +
				"stops its operations; at most half of it. 0 is a fifth of it."},
		{Name: "operation_scan_interval", Kind: config.Int, Default: int(defaultScan.Seconds()), Min: config.Bound(1),
			Help: "Seconds between two looks at the database for operations whose worker died and for requests to cancel."},
	}
}

// FromConfig returns a Config with the values of the options.
func FromConfig(cfg *config.Config) Config {
	seconds := func(name string) time.Duration { return time.Duration(cfg.Int64("DEFAULT", name)) * time.Second }
	return Config{
		Hold:   seconds("operation_owner_hold"),
		Margin: seconds("operation_owner_margin"),
		Scan:   seconds("operation_scan_interval"),
	}
}
