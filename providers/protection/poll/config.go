// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

// Config is how a plugin waits for a service.
type Config struct {
	PollInterval time.Duration // between two looks
	PollTimeout  time.Duration // of one wait; 0 is none
}

// Limits of a wait: a day where little is to be done, a week where data are moved.
const (
	Day  = 24 * time.Hour
	Week = 7 * Day
)

// ConfigOptions returns the options that FromConfig reads from a group. what is
// looked at is said in its help; timeout is Day or Week.
func ConfigOptions(group, what string, interval, timeout time.Duration) []config.Option {
	limit := "a day"
	if timeout == Week {
		limit = "a week, which data may take"
	}
	return []config.Option{
		{
			Group: group, Name: "poll_interval", Kind: config.Int, Default: int(interval.Seconds()),
			Help: fmt.Sprintf("Seconds between two looks at %s.", what),
		},
		{
			Group: group, Name: "poll_timeout", Kind: config.Int, Default: int(timeout.Seconds()), Min: config.Bound(0),
			Help: fmt.Sprintf("Seconds after which such a wait fails; %s. 0 is never, as in the original.", limit),
		},
	}
}

// FromConfig reads ConfigOptions.
func FromConfig(cfg *config.Config, group string) Config {
	return Config{
		PollInterval: time.Duration(cfg.Int64(group, "poll_interval")) * time.Second,
		PollTimeout:  time.Duration(cfg.Int64(group, "poll_timeout")) * time.Second,
	}
}
