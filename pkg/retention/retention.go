// SPDX-License-Identifier: Apache-2.0

// Package retention decides which of a series of backups to keep, by rules such as
// "seven daily and twelve monthly ones". It is pure: it reads no clock and removes
// nothing.
//
// The rules are those of restic's forget, except that a duration may also count weeks.
// Days, weeks, months and years follow the calendar in UTC, regardless of when the
// rules are applied, and weeks begin on Monday.
//
// restic: doc/060_forget.rst, "Removing snapshots according to a policy"
package retention

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Rules state which snapshots to keep. A snapshot is kept if any rule keeps it. Each
// rule that is set keeps the newest good snapshot.
type Rules struct {
	// Last keeps that many of the newest snapshots. The others keep the newest snapshot
	// of each of the newest hours, days, weeks, months or years that have one. A rule
	// with unused places also keeps the oldest snapshot, so that the history grows as
	// long as the rule allows from the first day on.
	Last, Hourly, Daily, Weekly, Monthly, Yearly Count
	// Within keeps all snapshots that are at most that much older than the newest one,
	// so a plan that is no longer backed up loses nothing. The newest is the newest
	// good snapshot that is not in the future, and snapshots in the future are kept.
	Within Duration
}

// Count is a number of snapshots, or All.
type Count int

// All is the Count that keeps every snapshot, or one of each period.
const All Count = -1

// unlimited is how restic writes All.
const unlimited = "unlimited"

// UnmarshalText parses a number, -1 or "unlimited".
func (c *Count) UnmarshalText(text []byte) error {
	if string(text) == unlimited {
		*c = All
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < int(All) {
		return fmt.Errorf("want a number, or %s (-1) for all, got %.40q", unlimited, text)
	}
	*c = Count(n)
	return nil
}

// MarshalText returns a text that UnmarshalText accepts.
func (c Count) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(c), 10), nil }

// ErrEmpty reports rules that keep nothing, which would remove every backup but the
// newest. It is more likely that a variable is not set than that somebody wants that.
var ErrEmpty = errors.New("no rule says what is to be kept")

// Check returns ErrEmpty for rules of which none is set, and an error for a Count below
// All.
func (r Rules) Check() error {
	if r == (Rules{}) {
		return ErrEmpty
	}
	for _, p := range append(r.periods(), period{name: "last", count: r.Last}) {
		if p.count < All {
			return fmt.Errorf("rule %q keeps %d snapshots: want 0 or more, or -1 for all", p.name, p.count)
		}
	}
	return nil
}

// State is the known state of a snapshot.
type State int

const (
	// Good is a snapshot that is complete, as far as is known.
	Good State = iota
	// Failed is an incomplete snapshot. No rule counts it, and it is removed once a
	// newer snapshot is good.
	Failed
	// Unfinished is a snapshot that is being made or removed. No rule counts it, and it
	// stays.
	Unfinished
	// Doubtful is a snapshot that has failed a verification, perhaps through the fault
	// of the verification. No rule counts it, and it stays for a person to judge.
	Doubtful
)

// Snapshot is one backup.
type Snapshot struct {
	ID    string
	Time  time.Time // when it was made
	State State
}

// Decision states whether a snapshot is kept.
type Decision struct {
	Snapshot
	Keep bool
	// Reasons name each rule that keeps the snapshot, such as "daily snapshot of
	// 2026-11-29", or state why the snapshot is removed. There is at least one.
	Reasons []string
}

// Apply decides about each snapshot, in the given order. It is idempotent: applied to
// the kept snapshots alone, it keeps them all. Rules with higher counts keep no less.
// It fails as Check does.
func Apply(snapshots []Snapshot, rules Rules, now time.Time) ([]Decision, error) {
	if err := rules.Check(); err != nil {
		return nil, err
	}
	decisions := make([]Decision, len(snapshots))
	var good []*Decision
	for i, s := range snapshots {
		s.Time = s.Time.UTC()
		decisions[i].Snapshot = s
		if s.State == Good {
			good = append(good, &decisions[i])
		}
	}
	slices.SortFunc(good, func(a, b *Decision) int { // the newest first
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	rules.Last.keepNewest(good)
	for _, p := range rules.periods() {
		p.keep(good)
	}
	rules.Within.keep(good, now)
	for i := range decisions {
		decisions[i].conclude(good)
	}
	return decisions, nil
}

// keep adds a reason to keep the snapshot.
func (d *Decision) keep(reason string) {
	d.Keep = true
	d.Reasons = append(d.Reasons, reason)
}

// conclude decides about a snapshot that no rule has kept. The good snapshots are
// sorted, the newest first.
func (d *Decision) conclude(good []*Decision) {
	switch {
	case d.Keep:
	case d.State == Good:
		d.Reasons = []string{"no rule keeps it"}
	case d.State == Unfinished:
		d.keep("it is unfinished")
	case d.State == Doubtful:
		d.keep("it failed a verification: no rule counts it")
	case len(good) > 0 && d.Time.Before(good[0].Time):
		d.Reasons = []string{"it failed, and a newer one is good"}
	default:
		d.keep("it failed, and no newer one is good")
	}
}

// keepNewest applies the rule Last.
func (c Count) keepNewest(good []*Decision) {
	for i, d := range good {
		if c == All || i < int(c) {
			d.keep("last snapshot")
		}
	}
}

// period is a rule that keeps one snapshot for each of a number of hours, days and so
// on.
type period struct {
	name  string // "daily"
	count Count
	of    func(time.Time) string // names the period that a time lies in
}

func (r Rules) periods() []period {
	layout := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(layout) }
	}
	return []period{
		{"hourly", r.Hourly, layout("2006-01-02 15h")},
		{"daily", r.Daily, layout(time.DateOnly)},
		{"weekly", r.Weekly, week},
		{"monthly", r.Monthly, layout("2006-01")},
		{"yearly", r.Yearly, layout("2006")},
	}
}

// week returns the week of ISO 8601, whose year can differ from the year of the day.
func week(t time.Time) string {
	year, number := t.ISOWeek()
	return fmt.Sprintf("%d-W%02d", year, number)
}

// keep applies the rule.
func (p period) keep(good []*Decision) {
	left, before := p.count, ""
	for i, d := range good {
		at := p.of(d.Time)
		oldest := i == len(good)-1
		if left == 0 || at == before && !oldest {
			continue
		}
		reason := p.name + " snapshot of " + at
		if at == before {
			reason = "oldest " + reason
		}
		d.keep(reason)
		before = at
		left-- // All never gets to zero
	}
}
