// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"fmt"
	"strings"
	"time"
)

// Picture shows an operation on a screen: a line for each resource at work, and
// one about the whole. What failed, and the end, stay on the screen.
type Picture struct {
	title  string
	screen *Screen
	now    func() time.Time
	told   map[string]bool
}

// NewPicture shows the operation that title names.
func NewPicture(title string, s *Screen, now func() time.Time) *Picture {
	return &Picture{title: title, screen: s, now: now, told: map[string]bool{}}
}

// Show draws the operation as it is now.
func (p *Picture) Show(o *Operation) {
	now := p.now()
	var lines []string
	for i := range o.Resources {
		switch r := &o.Resources[i]; r.State {
		case running:
			lines = append(lines, atWork(r, now))
		case failed:
			if line := r.line(); !p.told[line] {
				p.told[line] = true
				p.screen.Print(line)
			}
		}
	}
	summary := p.title + ": " + o.Summary(now)
	if o.Ended() {
		p.screen.Draw(nil)
		p.screen.Print(summary)
		return
	}
	p.screen.Draw(append(fitting(lines, p.screen.rows()), summary))
}

// Close takes the picture away.
func (p *Picture) Close() { p.screen.Draw(nil) }

// fitting leaves lines out so that these, one that counts the others, the
// summary and the cursor fit on the screen: what has scrolled away cannot be
// drawn over.
func fitting(lines []string, rows int) []string {
	room := max(rows-2, 1)
	if len(lines) <= room {
		return lines
	}
	left := len(lines) - (room - 1)
	return append(lines[:room-1:room-1], fmt.Sprintf("  and %d more", left))
}

const barWidth = 10

// atWork is the line of a resource whose hook runs.
func atWork(r *Resource, now time.Time) string {
	var took, bar string
	if r.StartedAt != nil {
		took = " " + Elapsed(now.Sub(*r.StartedAt))
	}
	if r.Percent > 0 {
		full := min(r.Percent, 100) * barWidth / 100
		bar = fmt.Sprintf(" [%s%s] %d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), r.Percent)
	}
	return "  " + r.name() + " " + r.Hook + bar + took
}
