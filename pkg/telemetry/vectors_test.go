// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-strftime"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// vectors are what oslo.log and the C library made of the same input; see
// testdata/record.py.
type vectors struct {
	Options []struct {
		Name    string
		Default any
	}
	Lines []struct {
		Format, Identity string
		Level            string
		Context          map[string]string
		Line             string
	}
	Dates []struct{ Format, Text string }
	Zones []struct {
		TZ     string
		Moment int64
		Text   string
	}
	Rotations []struct {
		When         string
		Interval     int
		Moment, Next int64
		Suffix       string
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Every option of oslo.log is declared, so that none is ignored in silence: it is
// honoured, or has no effect and a warning.
func TestEveryOptionOfOsloLogIsKnown(t *testing.T) {
	t.Parallel()
	for _, want := range readVectors(t).Options {
		i := slices.IndexFunc(Options, func(o config.Option) bool { return o.Name == want.Name })
		if i < 0 {
			t.Errorf("option %s is not declared", want.Name)
			continue
		}
		quiet := slices.ContainsFunc(ignoredOptions, func(o struct{ name, reason string }) bool { return o.name == want.Name })
		got := Options[i].Default
		if n, ok := got.(int); ok {
			got = float64(n)
		}
		if want.Name != "default_log_levels" && got != want.Default && !quiet {
			t.Errorf("the default of option %s is %v, want %v", want.Name, got, want.Default)
		}
	}
}

func TestLinesAsOsloLogWritesThem(t *testing.T) {
	t.Parallel()
	levels := map[string]logrus.Level{"DEBUG": logrus.DebugLevel, "INFO": logrus.InfoLevel, "WARNING": logrus.WarnLevel,
		"ERROR": logrus.ErrorLevel, "CRITICAL": logrus.FatalLevel}
	for _, v := range readVectors(t).Lines {
		c := LogConfig{IdentityFormat: v.Identity, DebugSuffix: "[%(levelname)s]", PlainFormat: v.Format, ContextFormat: v.Format}
		f, warnings := newLineFormat(c)
		if len(warnings) > 0 {
			t.Errorf("%s: %v", v.Format, warnings)
		}
		data := logrus.Fields{fieldLogger: "karbor.manager"}
		if v.Context != nil {
			about := &requestcontext.RequestContext{RequestID: v.Context["request_id"], GlobalRequestID: v.Context["global_request_id"],
				UserID: v.Context["user_id"], ProjectID: v.Context["project_id"], ProjectName: v.Context["project_name"],
				Extra: map[string]json.RawMessage{}}
			for name, sent := range map[string]string{"domain": "domain_id", "user_domain": "user_domain_id", "project_domain": "project_domain_id",
				"system_scope": "system_scope", "user_name": "user_name"} {
				if text := v.Context[sent]; text != "" {
					about.Extra[name] = json.RawMessage(`"` + text + `"`)
				}
			}
			data[fieldContext] = about
		}
		r := newRecord(&logrus.Entry{Time: time.UnixMilli(1795362440975), Level: levels[v.Level], Message: "hello", Data: data}, time.UTC)
		want := strings.ReplaceAll(v.Line, "4711", strconv.Itoa(processID))
		if got := f.line(r); got != want {
			t.Errorf("%q, identity %q:\n got %q\nwant %q", v.Format, v.Identity, got, want)
		}
	}
}

func TestDatesAsTheCLibraryWritesThem(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1795362440975).UTC()
	for _, v := range readVectors(t).Dates {
		if got := strftime.Format(v.Format, at); got != v.Text {
			t.Errorf("%s: got %q, want %q", v.Format, got, v.Text)
		}
	}
}

func TestZonesAsTheCLibraryReadsThem(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Zones {
		zone, warnings := localZone(v.TZ, true)
		got := time.Unix(v.Moment, 0).In(zone).Format("2006-01-02 15:04:05 MST -0700")
		if got != v.Text || len(warnings) > 0 {
			t.Errorf("TZ=%s at %d: got %s, want %s %v", v.TZ, v.Moment, got, v.Text, warnings)
		}
	}
}

// A TZ that is nothing is told, and one that is not set is the machine's.
func TestZonesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tz := range []string{"Mars/Olympus", "/no/such/file", "/dev/null", "CET-1CEST,M3", "CET-1CEST,never", "X", "CET-1\nCET"} {
		if zone, warnings := localZone(tz, true); zone != time.UTC || len(warnings) != 1 {
			t.Errorf("TZ=%q: %s, %v", tz, zone, warnings)
		}
	}
	if zone, warnings := localZone("", false); zone != time.Local || warnings != nil {
		t.Errorf("without TZ: %s, %v", zone, warnings)
	}
}

func TestRotationsAsPythonComputesThem(t *testing.T) {
	t.Parallel()
	types := map[string]string{"S": "Seconds", "M": "Minutes", "H": "hours", "D": "Days", "MIDNIGHT": "Midnight", "W": "Weekday"}
	zone, _ := localZone("CET-1CEST,M3.5.0,M10.5.0/3", true)
	for _, v := range readVectors(t).Rotations {
		schedule, err := newSchedule(Rotation{IntervalType: types[v.When], Interval: v.Interval})
		if err != nil {
			t.Fatal(err)
		}
		next := schedule.next(time.Unix(v.Moment, 0).In(zone))
		if got := strftime.Format(schedule.suffix, schedule.before(next)); next.Unix() != v.Next || got != v.Suffix || !schedule.old.MatchString(got) {
			t.Errorf("%+v: got %d, %s", v, next.Unix(), got)
		}
	}
}

// The day in which the clocks change is rotated at its midnights and under its
// name, where Python is an hour off.
func TestMidnightWhenClocksChange(t *testing.T) {
	t.Parallel()
	zone, _ := localZone("CET-1CEST,M3.5.0,M10.5.0/3", true)
	schedule, err := newSchedule(Rotation{IntervalType: "midnight", Interval: 1})
	if err != nil {
		t.Fatal(err)
	}
	next := schedule.next(time.Date(2024, 3, 31, 0, 0, 0, 0, zone))
	if want := time.Date(2024, 4, 1, 0, 0, 0, 0, zone); !next.Equal(want) || strftime.Format(schedule.suffix, schedule.before(next)) != "2024-03-31" {
		t.Errorf("next %s, named after %s", next, schedule.before(next))
	}
}
