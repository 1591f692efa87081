// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func at(seconds int) *time.Time {
	t := noon.Add(time.Duration(seconds) * time.Second)
	return &t
}

// story is what a worker tells of one operation, look by look.
func story() []*Operation {
	hooks := []string{"on_prepare_begin", "on_main"}
	waits := Resource{Type: "Volume", ID: "c", State: "waiting"}
	prepared := Resource{Type: "Volume", ID: "a", Hook: "on_prepare_begin", State: "finished", Hooks: hooks, Done: hooks[:1]}
	runs := func(id string, percent int) Resource {
		return Resource{Type: "Volume", ID: id, Hook: "on_main", State: "running", Percent: percent, StartedAt: at(5), Hooks: hooks}
	}
	done := Resource{Type: "Volume", ID: "a", Hook: "on_main", State: "finished", Hooks: hooks, Done: hooks}
	broken := Resource{Type: "Volume", ID: "b", Hook: "on_main", State: "failed", Error: "disk\nfull"}
	o := func(status string, resources ...Resource) *Operation {
		return &Operation{ID: "o", Type: "protect", Status: status, CreatedAt: noon, StartedAt: at(5), Resources: resources}
	}
	queued := o("queued", waits)
	queued.Position, queued.StartedAt = 3, nil
	stopping := o("running", done, broken, waits)
	stopping.CancelledBy = "user u"
	over := o("failed", done, broken)
	over.EndedAt = at(70)
	return []*Operation{
		queued,
		o("running", prepared, runs("b", 0), waits),
		o("running", runs("a", 41), runs("b", 4), waits),
		o("running", runs("a", 49), runs("b", 8), waits),
		o("running", done, broken, waits),
		stopping,
		over,
	}
}

// clock moves on by ten seconds with each look at it.
func clock() func() time.Time {
	now := noon
	return func() time.Time {
		now = now.Add(10 * time.Second)
		return now
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var got []string
	l := NewLines("operation o", func(line string) { got = append(got, line) }, func() time.Time { return *at(65) })
	for _, o := range story() {
		l.Show(o)
	}
	want := []string{
		"operation o: protect queued at place 3, 1m5s",
		"Volume a on_prepare_begin finished",
		"Volume b on_main running",
		"operation o: protect running, 0/3 done, 0%, 1m0s",
		"Volume a on_main running 41%",
		"operation o: protect running, 0/3 done, 15%, 1m0s",
		"Volume a on_main finished",
		"Volume b on_main failed: disk\nfull",
		"operation o: protect running, 1/3 done, 33%, 1m0s",
		"operation o: protect running, is being cancelled, 1/3 done, 33%, 1m0s",
		"operation o: protect failed, 1/2 done, 50%, 1m5s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPicture looks at the screen after each drawing.
func TestPicture(t *testing.T) {
	t.Parallel()
	term := &terminal{T: t, columns: 60, rows: 10}
	p := NewPicture("operation o", NewScreen(term, term.size), clock())
	want := []string{
		`operation o: protect queued at place 3, 10s`,
		`  Volume b on_main 15s
operation o: protect running, 0/3 done, 0%, 15s`,
		`  Volume a on_main [####......] 41% 25s
  Volume b on_main [..........] 4% 25s
operation o: protect running, 0/3 done, 15%, 25s`,
		`  Volume a on_main [####......] 49% 35s
  Volume b on_main [..........] 8% 35s
operation o: protect running, 0/3 done, 19%, 35s`,
		`Volume b on_main failed: disk\nfull
operation o: protect running, 1/3 done, 33%, 45s`,
		`Volume b on_main failed: disk\nfull
operation o: protect running, is being cancelled, 1/3 done…`,
		`Volume b on_main failed: disk\nfull
operation o: protect failed, 1/2 done, 50%, 1m5s`,
	}
	for i, o := range story() {
		p.Show(o)
		if diff := cmp.Diff(want[i], term.text()); diff != "" {
			t.Errorf("look %d: %s", i, diff)
		}
	}
	p.Close()
	if diff := cmp.Diff(want[len(want)-1], term.text()); diff != "" {
		t.Errorf("after the end: %s", diff)
	}
}

// TestSmallScreen never draws more than can be drawn over, and follows a window
// that becomes narrower.
func TestSmallScreen(t *testing.T) {
	t.Parallel()
	term := &terminal{T: t, columns: 40, rows: 5}
	screen := NewScreen(term, term.size)
	p := NewPicture("o", screen, func() time.Time { return noon })
	o := &Operation{Type: "restore", Status: Running, CreatedAt: noon}
	for i := range 9 {
		o.Resources = append(o.Resources, Resource{Type: "OS::Cinder::Volume", ID: fmt.Sprint(i, "-a-long-id-of-a-volume"), Hook: "on_main", State: "running"})
	}
	p.Show(o)
	want := `  OS::Cinder::Volume 0-a-long-id-of-a-…
  OS::Cinder::Volume 1-a-long-id-of-a-…
  and 7 more
o: restore running, 0/9 done, 0%, 0s`
	if diff := cmp.Diff(want, term.text()); diff != "" {
		t.Error(diff)
	}
	term.resize(30)
	p.Show(o)
	screen.Print("a line that stays, of somebody\x1b[2J else")
	p.Close()
	if got := term.text(); got != "a line that stays, of somebody\n\\x1b[2J else" {
		t.Errorf("left on the screen: %q", got)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	all := []string{"on_main", "on_complete"}
	for name, c := range map[string]struct {
		status    string
		resources []Resource
		want      string
	}{
		"none":                {Running, nil, "t running, 0s"},
		"done is not all":     {Running, []Resource{{State: "running", Hook: "on_complete", Hooks: all, Done: all[:1]}}, "t running, 0/1 done, 99%, 0s"},
		"the last is to come": {Running, []Resource{{State: "finished", Hook: "on_main", Hooks: all, Done: all[:1]}}, "t running, 0/1 done, 99%, 0s"},
		"all done":            {Running, []Resource{{State: "finished", Hooks: all, Done: all}}, "t running, 1/1 done, 100%, 0s"},
		"no main hook":        {Running, []Resource{{State: "running", Hook: "on_complete", Percent: 40, Hooks: all[1:]}}, "t running, 0/1 done, 40%, 0s"},
		"hooks not known":     {Running, []Resource{{State: "finished", Hook: "on_main", Done: all[:1]}}, "t running, 0/1 done, 99%, 0s"},
		"too much":            {Running, []Resource{{State: "running", Hook: "on_main", Percent: 900}}, "t running, 0/1 done, 99%, 0s"},
		"only prepared":       {Running, []Resource{{State: "finished", Hook: "on_prepare_finish"}}, "t running, 0/1 done, 0%, 0s"},
		"succeeded means all": {Succeeded, []Resource{{State: "finished", Hook: "on_prepare_finish"}}, "t succeeded, 1/1 done, 100%, 0s"},
	} {
		o := &Operation{Type: "t", Status: c.status, CreatedAt: noon, Resources: c.resources}
		if got := o.Summary(noon.Add(-time.Minute)); got != c.want { // the clock is behind the worker's
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNoTerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	xterm := func(string) string { return "xterm" }
	if Terminal(file, xterm) != nil || Terminal(&bytes.Buffer{}, xterm) != nil {
		t.Error("a file or a buffer counts as a terminal")
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	file, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	defer file.Close()
	resize := func(columns, rows uint16) {
		if err := unix.IoctlSetWinsize(int(file.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
			t.Fatal(err)
		}
	}
	size := Terminal(file, func(string) string { return "xterm" })
	if size == nil {
		t.Fatal("a terminal is taken for none")
	}
	for _, want := range [][4]int{{0, 0, 80, 24}, {100, 30, 100, 30}} {
		resize(uint16(want[0]), uint16(want[1]))
		if columns, rows := size(); columns != want[2] || rows != want[3] {
			t.Errorf("%d columns, %d rows, want %v", columns, rows, want)
		}
	}
	for _, kind := range []string{"dumb", ""} {
		if Terminal(file, func(string) string { return kind }) != nil {
			t.Errorf("TERM=%q can move its cursor", kind)
		}
	}
}

// terminal understands what Screen writes, and wraps lines.
type terminal struct {
	*testing.T
	columns, rows int
	lines         []string // logical lines, as terminals keep them to wrap them anew
}

func (t *terminal) size() (int, int)   { return t.columns, t.rows }
func (t *terminal) resize(columns int) { t.columns = columns }

// wrapped are the rows on the screen with the cursor's as the last.
func (t *terminal) wrapped() []string {
	var rows []string
	for _, line := range t.lines {
		runes := []rune(line)
		for len(runes) > t.columns {
			rows, runes = append(rows, string(runes[:t.columns])), runes[t.columns:]
		}
		rows = append(rows, string(runes))
	}
	return rows
}

func (t *terminal) text() string { return strings.Join(t.wrapped(), "\n") }

func (t *terminal) Write(p []byte) (int, error) {
	text := string(p)
	if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
		var up int
		if _, err := fmt.Sscanf(rest, "%dA", &up); err != nil {
			t.Errorf("%q: %v", rest, err)
		}
		rows := t.wrapped()
		if up > len(rows) {
			t.Errorf("up %d of %d rows", up, len(rows))
			return len(p), nil
		}
		t.lines = rows[:len(rows)-up]
		at := strings.Index(rest, "\r\x1b[J")
		text = rest[at+len("\r\x1b[J"):]
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("unknown sequence in %q", text)
	}
	if text != "" {
		t.lines = append(t.lines, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	}
	return len(p), nil
}
