// SPDX-License-Identifier: Apache-2.0

package retention

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a calendar duration: the length of a month depends on the month that it
// goes back over.
type Duration struct{ Years, Months, Days, Hours int }

var (
	durationForm = regexp.MustCompile(`^(?:[0-9]{1,6}[ymwdh])+$`)
	durationPart = regexp.MustCompile(`([0-9]+)([ymwdh])`)
)

// UnmarshalText parses a duration such as 30d, 2w or 1y5m7d3h: years, months, weeks,
// days and hours, in any order.
func (d *Duration) UnmarshalText(text []byte) error {
	if !durationForm.Match(text) {
		return fmt.Errorf("want a duration such as 30d, 2w or 1y5m7d3h, got %.40q", text)
	}
	*d = Duration{}
	for _, part := range durationPart.FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(part[1]))
		if err != nil {
			return fmt.Errorf("reading duration %.40q: %w", text, err)
		}
		switch part[2][0] {
		case 'y':
			d.Years += n
		case 'm':
			d.Months += n
		case 'w':
			d.Days += 7 * n
		case 'd':
			d.Days += n
		case 'h':
			d.Hours += n
		}
	}
	return nil
}

// MarshalText returns a text that UnmarshalText accepts.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String shows weeks as days. The zero value is empty.
func (d Duration) String() string {
	var text strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{d.Years, "y"}, {d.Months, "m"}, {d.Days, "d"}, {d.Hours, "h"}} {
		if part.n != 0 {
			text.WriteString(strconv.Itoa(part.n) + part.unit)
		}
	}
	return text.String()
}

// before returns the time that lies d before t.
func (d Duration) before(t time.Time) time.Time {
	return t.AddDate(-d.Years, -d.Months, -d.Days).Add(-time.Duration(d.Hours) * time.Hour)
}

// keep applies the rule Within. The good snapshots are sorted, the newest first.
func (d Duration) keep(good []*Decision, now time.Time) {
	if d == (Duration{}) {
		return
	}
	var newest time.Time
	for _, one := range good {
		if !one.Time.After(now) {
			newest = one.Time
			break
		}
	}
	from := d.before(newest)
	for _, one := range good {
		if one.Time.After(from) {
			one.keep("within " + d.String())
		}
	}
}
