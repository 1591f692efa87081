// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-strftime"
)

// Rotation configures how a log file is rotated, in oslo.log's terms. The zero value
// leaves rotation to other programs.
type Rotation struct {
	Type         string // "", "none", "size" or "interval"
	Size         int64  // bytes, of "size"
	Interval     int    // of "interval": how many of IntervalType, or which day of the week
	IntervalType string // Seconds, Minutes, Hours, Days, Weekday, Midnight
	Count        int    // rotated files that are kept
}

// logFile is the log file. It rotates itself, or notices that another program has moved
// it.
// python: logging.handlers; oslo.log: log.py _setup_logging_from_conf
type logFile struct {
	path     string
	now      func() time.Time // in the log's time zone
	size     int64            // at which it is rotated; 0 is never
	count    int
	schedule *schedule // nil if time does not matter
	watch    bool      // another program may move it

	file    *os.File
	written int64     // the present size
	next    time.Time // the next rotation
}

// schedule states when a file is rotated.
type schedule struct {
	every  time.Duration
	suffix string         // strftime, of the rotated file's name
	old    *regexp.Regexp // names such suffixes have
	next   func(after time.Time) time.Time
}

// before returns the rotation before next. A day on which the clocks change counts as one
// day.
func (t *schedule) before(next time.Time) time.Time {
	if t.every%day != 0 {
		return next.Add(-t.every)
	}
	return next.AddDate(0, 0, -int(t.every/day))
}

const day = 24 * time.Hour

func newSchedule(r Rotation) (*schedule, error) {
	var t *schedule
	seconds := func(unit time.Duration, suffix, old string) *schedule {
		every := time.Duration(r.Interval) * unit
		return &schedule{every: every, suffix: suffix, old: regexp.MustCompile(`^\d{4}-\d\d-\d\d` + old + `$`),
			next: func(after time.Time) time.Time { return after.Add(every) }}
	}
	switch strings.ToLower(r.IntervalType) {
	case "seconds":
		t = seconds(time.Second, "%Y-%m-%d_%H-%M-%S", `_\d\d-\d\d-\d\d`)
	case "minutes":
		t = seconds(time.Minute, "%Y-%m-%d_%H-%M", `_\d\d-\d\d`)
	case "hours":
		t = seconds(time.Hour, "%Y-%m-%d_%H", `_\d\d`)
	case "days":
		t = seconds(day, "%Y-%m-%d", "")
	case "midnight":
		t = seconds(day, "%Y-%m-%d", "")
		t.next = midnight
	case "weekday":
		if r.Interval < 0 || r.Interval > 6 {
			return nil, fmt.Errorf("option log_rotate_interval: %d is no day of the week, 0 (Monday) to 6", r.Interval)
		}
		last := time.Weekday((r.Interval + 1) % 7)
		t = seconds(day, "%Y-%m-%d", "")
		t.every = 7 * day
		t.next = func(after time.Time) time.Time { // the end of that day
			for ; after.Weekday() != last; after = midnight(after) {
			}
			return midnight(after)
		}
	default:
		return nil, fmt.Errorf("option log_rotate_interval_type: %q is none of Seconds, Minutes, Hours, Days, Weekday, Midnight", r.IntervalType)
	}
	if t.every <= 0 {
		return nil, fmt.Errorf("option log_rotate_interval: %d is no interval", r.Interval)
	}
	return t, nil
}

// midnight returns the end of the day.
func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
}

func openLogFile(path string, r Rotation, now func() time.Time) (*logFile, error) {
	f := &logFile{path: path, now: now, count: r.Count}
	var err error
	switch strings.ToLower(r.Type) {
	case "", "none":
		f.watch = true
	case "size":
		if f.size = r.Size; r.Count == 0 {
			f.size = 0
		}
	case "interval":
		if f.schedule, err = newSchedule(r); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("option log_rotation_type: %q is none of none, size, interval", r.Type)
	}
	if f.schedule != nil {
		begun := now()
		if there, err := os.Stat(path); err == nil {
			begun = there.ModTime().In(begun.Location())
		}
		f.next = f.schedule.next(begun)
	}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("opening the log file: %w", err)
	}
	if f.file != nil {
		_ = f.file.Close() // every line has been written
	}
	f.file, f.written = file, 0
	if there, err := file.Stat(); err == nil {
		f.written = there.Size()
	}
	return nil
}

// Write implements io.Writer. If a file cannot be rotated or reopened, Write continues
// with the old one, so that no line is lost.
func (f *logFile) Write(line []byte) (int, error) {
	var err error
	switch {
	case f.watch && f.moved():
		err = f.reopen()
	case f.size > 0 && f.written > 0 && f.written+int64(len(line)) >= f.size:
		err = f.rotate(f.numbered)
	case f.schedule != nil && !f.now().Before(f.next):
		err = f.rotate(f.dated)
	}
	n, writing := f.file.Write(line)
	f.written += int64(n)
	return n, errors.Join(err, writing)
}

func (f *logFile) moved() bool {
	open, err := f.file.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(f.path)
	return err != nil || !os.SameFile(open, named)
}

func (f *logFile) rotate(rename func() error) error {
	err := rename()
	if err != nil {
		err = fmt.Errorf("rotating the log file: %w", err)
	}
	return errors.Join(err, f.reopen())
}

// numbered renames the files: the newest one ends with ".1".
func (f *logFile) numbered() error {
	name := func(i int) string { return f.path + "." + strconv.Itoa(i) }
	for i := f.count - 1; i > 0; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(f.path, name(1))
}

// dated appends the time of the file's beginning to its name, and removes the oldest
// files.
func (f *logFile) dated() error {
	begun := f.schedule.before(f.next)
	for now := f.now(); !f.next.After(now); {
		f.next = f.schedule.next(now)
	}
	if err := os.Rename(f.path, f.path+"."+strftime.Format(f.schedule.suffix, begun)); err != nil || f.count == 0 {
		return err
	}
	dir, base := filepath.Split(f.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	var old []string
	for _, entry := range entries {
		if suffix, ours := strings.CutPrefix(entry.Name(), base+"."); ours && f.schedule.old.MatchString(suffix) {
			old = append(old, dir+entry.Name())
		}
	}
	slices.Sort(old)
	for _, path := range old[:max(0, len(old)-f.count)] {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Close implements io.Closer.
func (f *logFile) Close() error { return f.file.Close() }
