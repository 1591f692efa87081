// SPDX-License-Identifier: Apache-2.0

package retention

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// at reads a time such as "2026-11-29 14:30"; without the hour it is 11:00.
func at(text string) time.Time {
	if len(text) == len(time.DateOnly) {
		text += " 11:00"
	}
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// made are good snapshots of these times, which are their ids.
func made(times ...string) []Snapshot {
	var list []Snapshot
	for _, text := range times {
		list = append(list, Snapshot{ID: text, Time: at(text)})
	}
	return list
}

// sundays are the twelve backups of the example in restic's documentation.
var sundays = made("2019-09-01", "2019-09-08", "2019-09-15", "2019-09-22", "2019-09-29", "2019-10-06",
	"2019-10-13", "2019-10-20", "2019-10-27", "2019-11-03", "2019-11-10", "2019-11-17")

// daily are backups of every day at one o'clock, the oldest first.
func daily(first, last string) []Snapshot {
	var list []Snapshot
	for day := at(first + " 01:00"); !day.After(at(last + " 01:00")); day = day.AddDate(0, 0, 1) {
		list = append(list, Snapshot{ID: day.Format(time.DateOnly), Time: day})
	}
	return list
}

// What restic's documentation says of its rules, by its own examples where it has some.
//
// restic: doc/060_forget.rst, "Removing snapshots according to a policy"
func TestRulesOfRestic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list []Snapshot
		rule Rules
		want string // ids of those that are kept, in the order of the list
	}{
		"the example of Sundays": {sundays, Rules{Daily: 4}, "2019-10-27 2019-11-03 2019-11-10 2019-11-17"},
		"only the most recent one of an hour": {
			made("2026-01-01 08:59", "2026-01-01 09:00", "2026-01-01 09:59", "2026-01-01 10:00"), Rules{Hourly: 2}, "2026-01-01 09:59 2026-01-01 10:00"},
		"natural boundaries of days": {
			made("2026-01-01 00:00", "2026-01-01 23:59", "2026-01-02 00:00", "2026-01-02 23:59"), Rules{Daily: 1}, "2026-01-02 23:59"},
		"weeks from Monday to Sunday": {
			made("2026-11-15", "2026-11-16 00:00", "2026-11-22 23:59", "2026-11-23 00:00"), Rules{Weekly: 2}, "2026-11-22 23:59 2026-11-23 00:00"},
		"the week that two years share": {
			made("2026-12-27", "2026-12-28", "2027-01-03", "2027-01-04"), Rules{Weekly: 3}, "2026-12-27 2027-01-03 2027-01-04"},
		"only periods that have a snapshot": {
			made("2020-01-01", "2023-05-05", "2023-05-06", "2026-01-01"), Rules{Yearly: 2}, "2023-05-06 2026-01-01"},
		"months":    {made("2026-01-30", "2026-01-31", "2026-02-01", "2026-03-01"), Rules{Monthly: 3}, "2026-01-31 2026-02-01 2026-03-01"},
		"last":      {sundays, Rules{Last: 2}, "2019-11-10 2019-11-17"},
		"unlimited": {sundays, Rules{Monthly: All}, "2019-09-01 2019-09-29 2019-10-27 2019-11-17"},
		"all":       {sundays[:3], Rules{Last: All}, "2019-09-01 2019-09-08 2019-09-15"},
		"the oldest is kept while a rule has some left": {
			made("2026-11-01 10:00", "2026-11-01 11:00", "2026-11-01 12:00"), Rules{Daily: 2}, "2026-11-01 10:00 2026-11-01 12:00"},
		"and not when it has none left": {
			made("2026-11-01 10:00", "2026-11-01 11:00", "2026-11-01 12:00"), Rules{Daily: 1}, "2026-11-01 12:00"},
		"one rule is enough":                        {sundays, Rules{Last: 1, Monthly: 2}, "2019-10-27 2019-11-17"},
		"within, of the newest and not of now":      {sundays, Rules{Within: Duration{Days: 14}}, "2019-11-10 2019-11-17"},
		"within, by an hour more":                   {sundays, Rules{Within: Duration{Days: 14, Hours: 1}}, "2019-11-03 2019-11-10 2019-11-17"},
		"within ignores the future and keeps it":    {made("2026-10-01", "2026-11-29", "2031-01-01"), Rules{Within: Duration{Days: 1}}, "2026-11-29 2031-01-01"},
		"all in the future":                         {made("2030-10-01", "2031-01-01"), Rules{Within: Duration{Hours: 1}}, "2030-10-01 2031-01-01"},
		"nothing to decide":                         {nil, Rules{Last: 1}, ""},
		"of one second, the one with the larger id": {[]Snapshot{{ID: "b", Time: at("2026-11-01")}, {ID: "a", Time: at("2026-11-01")}}, Rules{Last: 1}, "b"},
	} {
		if got := kept(t, c.list, c.rule); strings.Join(got, " ") != c.want {
			t.Errorf("%s: kept %v, want %s", name, got, c.want)
		}
	}
}

// A hundred years of daily backups: the numbers of restic's documentation.
func TestCenturyOfRestic(t *testing.T) {
	t.Parallel()
	list := daily("1926-11-30", "2026-11-29")
	got := kept(t, list, Rules{Daily: 7, Weekly: 5, Monthly: 12, Yearly: 75})
	// The 29th of November 2026 is a Sunday: 7 days, 4 Sundays more, 11 ends of a month more, since the newest
	// counts for November too, and 74 ends of a year less that of 2025, which is the end of a month.
	if want := 7 + 4 + 11 + 73; len(got) != want {
		t.Errorf("%d are kept, want %d: %v", len(got), want, got)
	}
}

var now = at("2026-11-29 12:00")

func apply(t interface{ Fatal(...any) }, list []Snapshot, r Rules) []Decision {
	decisions, err := Apply(list, r, now)
	if err != nil {
		t.Fatal(err)
	}
	return decisions
}

func kept(t interface{ Fatal(...any) }, list []Snapshot, r Rules) (ids []string) {
	for _, d := range apply(t, list, r) {
		if d.Keep {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func TestReasons(t *testing.T) {
	t.Parallel()
	list := made("2026-11-01 10:00", "2026-11-01 11:00", "2026-11-28", "2026-11-29")
	list = append(list, Snapshot{ID: "half", Time: at("2026-11-02"), State: Failed}, Snapshot{ID: "new", Time: at("2026-11-29 11:30"), State: Failed},
		Snapshot{ID: "now", Time: now, State: Unfinished}, Snapshot{ID: "odd", Time: at("2026-11-03"), State: Doubtful})
	got := map[string]string{}
	for _, d := range apply(t, list, Rules{Last: 1, Hourly: 1, Daily: 3, Weekly: 1, Monthly: 2, Yearly: 1, Within: Duration{Days: 2}}) {
		got[d.ID] = fmt.Sprintf("%v: %s", d.Keep, strings.Join(d.Reasons, ", "))
	}
	want := map[string]string{
		"2026-11-01 10:00": "true: oldest monthly snapshot of 2026-11",
		"2026-11-01 11:00": "true: daily snapshot of 2026-11-01",
		"2026-11-28":       "true: daily snapshot of 2026-11-28, within 2d",
		"2026-11-29": "true: last snapshot, hourly snapshot of 2026-11-29 11h, daily snapshot of 2026-11-29, weekly snapshot of 2026-W48, " +
			"monthly snapshot of 2026-11, yearly snapshot of 2026, within 2d",
		"half": "false: it failed, and a newer one is good",
		"new":  "true: it failed, and no newer one is good",
		"now":  "true: it is unfinished",
		"odd":  "true: it failed a verification: no rule counts it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d := apply(t, made("2026-11-28", "2026-11-29"), Rules{Last: 1})[0]; d.Keep || d.Reasons[0] != "no rule keeps it" {
		t.Errorf("%+v", d)
	}
	if ids := kept(t, list[4:6], Rules{Last: 1}); len(ids) != 2 {
		t.Errorf("of failed ones alone these are kept: %v", ids)
	}
}

// Days are those of UTC, whatever zone a time is given in.
func TestUTC(t *testing.T) {
	t.Parallel()
	list := []Snapshot{
		{ID: "older", Time: at("2026-11-27")},
		{ID: "old", Time: time.Date(2026, 11, 28, 20, 0, 0, 0, time.FixedZone("", -6*3600))}, // 02:00 of the 29th
		{ID: "new", Time: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)},
	}
	if got := kept(t, list, Rules{Daily: 2}); !slices.Equal(got, []string{"older", "new"}) {
		t.Errorf("kept %v", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if _, err := Apply(sundays, Rules{}, now); !errors.Is(err, ErrEmpty) {
		t.Errorf("no rule: %v", err)
	}
	for name, r := range map[string]Rules{"last": {Last: -2}, "weekly": {Weekly: -7, Last: 1}} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Count{"0": 0, "7": 7, "-1": All, "unlimited": All} {
		var got Count
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-2", "1.5", "many", "99999999999999999999"} {
		if err := new(Count).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Duration{
		"30d": {Days: 30}, "2w": {Days: 14}, "1y5m": {Years: 1, Months: 5}, "1y5m7d2h": {1, 5, 7, 2}, "36h": {Hours: 36}, "1w1d": {Days: 8}, "2h1y": {Years: 1, Hours: 2},
	} {
		var got Duration
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "3", "3x", "-3d", "1d 2h", "3D", "9999999d"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// drawSnapshots are of any state, from hours to years apart, some of one second, some of the future.
func drawSnapshots(t *rapid.T) []Snapshot {
	gap := rapid.SampledFrom([]int{3600, 86400, 30 * 86400}).Draw(t, "seconds between")
	state := rapid.SampledFrom([]State{Good, Good, Good, Failed, Unfinished, Doubtful})
	list := make([]Snapshot, rapid.IntRange(0, 60).Draw(t, "snapshots"))
	when := now.Add(time.Duration(rapid.IntRange(-100, 2).Draw(t, "newest")) * time.Hour)
	for i := range list {
		list[i] = Snapshot{ID: strconv.Itoa(i), Time: when, State: state.Draw(t, "state")}
		when = when.Add(-time.Duration(rapid.IntRange(0, 2*gap).Draw(t, "gap")) * time.Second)
	}
	return rapid.Permutation(list).Draw(t, "order")
}

func drawRules(t *rapid.T) Rules {
	count := func(name string) Count { return Count(rapid.SampledFrom([]int{0, 0, 1, 2, 5, 20, -1}).Draw(t, name)) }
	part := func(name string, most int) int { return rapid.IntRange(0, most).Draw(t, name) }
	r := Rules{Last: count("last"), Hourly: count("hourly"), Daily: count("daily"), Weekly: count("weekly"), Monthly: count("monthly"), Yearly: count("yearly")}
	if rapid.Bool().Draw(t, "within") {
		r.Within = Duration{part("years", 1), part("months", 3), part("days", 40), part("hours", 30)}
	}
	if r == (Rules{}) {
		r.Last = 1
	}
	return r
}

// What is kept is kept again: to prune twice is to prune once.
func TestIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRules(t)
		var left []Snapshot
		for _, d := range apply(t, drawSnapshots(t), r) {
			if d.Keep {
				left = append(left, d.Snapshot)
			}
		}
		for _, d := range apply(t, left, r) {
			if !d.Keep {
				t.Fatalf("%s %s goes the second time: %v", d.ID, d.Time, d.Reasons)
			}
		}
	})
}

// Rules that count more keep no less.
func TestMonotonous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, r := drawSnapshots(t), drawRules(t)
		more := r
		for name, c := range map[string]*Count{"last": &more.Last, "hourly": &more.Hourly, "daily": &more.Daily, "weekly": &more.Weekly, "monthly": &more.Monthly, "yearly": &more.Yearly} {
			switch add := rapid.SampledFrom([]Count{0, 1, 7, All}).Draw(t, "more "+name); {
			case add == All:
				*c = All
			case *c != All:
				*c += add
			}
		}
		more.Within.Days += rapid.IntRange(0, 40).Draw(t, "more days")
		ids := kept(t, list, more)
		for _, id := range kept(t, list, r) {
			if !slices.Contains(ids, id) {
				t.Fatalf("%+v keep %s, %+v do not", r, id, more)
			}
		}
	})
}

// The newest good one stays under any rules, and so does what nobody may judge. What goes is
// good, or has failed and is older than it.
func TestWhatNeverGoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := drawSnapshots(t)
		var newest *Snapshot
		for i := range list {
			if s := &list[i]; s.State == Good && (newest == nil || s.Time.After(newest.Time) || s.Time.Equal(newest.Time) && s.ID > newest.ID) {
				newest = s
			}
		}
		decisions := apply(t, list, drawRules(t))
		for i, d := range decisions {
			older := newest != nil && d.Time.Before(newest.Time)
			mayGo := d.State == Good && d.ID != newest.ID || d.State == Failed && older
			if d.Snapshot != list[i] || len(d.Reasons) == 0 || !d.Keep && !mayGo || d.State == Failed && d.Keep == older {
				t.Fatalf("%+v", d)
			}
		}
	})
}
