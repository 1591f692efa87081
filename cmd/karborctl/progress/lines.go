// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"fmt"
	"time"
)

// Lines prints a line for each change, for logs and pipes.
type Lines struct {
	title string
	write func(string)
	now   func() time.Time

	state     string
	resources map[string]string
}

// NewLines returns Lines for the operation that title names.
func NewLines(title string, write func(string), now func() time.Time) *Lines {
	return &Lines{title: title, write: write, now: now, resources: map[string]string{}}
}

// coarse is the step of percents that is worth a line.
const coarse = 10

// Show prints changes. The operation gets a line when its status changes, and when a tenth
// more of it is done.
func (l *Lines) Show(o *Operation) {
	for i := range o.Resources {
		if r := &o.Resources[i]; r.Hook != "" && l.changed(r) {
			l.write(r.line())
		}
	}
	state := o.state()
	if _, _, percent := o.counts(); percent > 0 && !o.Ended() {
		state += fmt.Sprintf(" %d", percent/coarse)
	}
	if state != l.state {
		l.write(l.title + ": " + o.Summary(l.now()))
		l.state = state
	}
}

func (l *Lines) changed(r *Resource) bool {
	rough := *r
	rough.Percent = r.Percent / coarse * coarse
	line := rough.line()
	if l.resources[r.name()] == line {
		return false
	}
	l.resources[r.name()] = line
	return true
}

// Close ends the display.
func (*Lines) Close() {}
