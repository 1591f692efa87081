// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/rivo/uniseg"

	"github.com/karbor-project/karbor/pkg/printable"
)

// Screen keeps a few lines at the bottom of a terminal that are drawn again and
// again, below those that stay. It is safe for concurrent use.
type Screen struct {
	out  io.Writer
	size func() (columns, rows int)

	mu    sync.Mutex
	lines []string // at the bottom, as they were drawn
}

// NewScreen draws on a terminal. size is asked before each drawing, because
// windows change.
func NewScreen(out io.Writer, size func() (columns, rows int)) *Screen {
	return &Screen{out: out, size: size}
}

func (s *Screen) rows() int {
	_, rows := s.size()
	return rows
}

// Draw replaces the lines at the bottom. A line that is too long is cut.
func (s *Screen) Draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update("", lines)
}

// Print adds a line that stays.
func (s *Screen) Print(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(printable.Line(line)+"\n", s.lines)
}

// update draws everything with one write, so that nothing flickers. A terminal
// that takes no more is not worth an error: the operation goes on.
func (s *Screen) update(above string, lines []string) {
	columns, _ := s.size()
	var out strings.Builder
	if height := s.height(columns); height > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", height) // up to the first line, and erase from there
	}
	out.WriteString(above)
	s.lines = nil
	for _, line := range lines {
		line = cut(printable.Line(line), columns)
		s.lines = append(s.lines, line)
		out.WriteString(line + "\n")
	}
	if out.Len() > 0 {
		_, _ = io.WriteString(s.out, out.String())
	}
}

// height is how many rows the lines take: in a window that became narrower they
// have wrapped.
func (s *Screen) height(columns int) int {
	rows := len(s.lines)
	for _, line := range s.lines {
		column := 0
		for cluster := uniseg.NewGraphemes(line); cluster.Next(); {
			if column += cluster.Width(); column > columns { // it is the first one of a row
				rows++
				column = cluster.Width()
			}
		}
	}
	return rows
}

// cut leaves the last column free: some terminals begin a new line there. What is
// shown as one character is kept or left out as one.
func cut(line string, columns int) string {
	if uniseg.StringWidth(line) < columns {
		return line
	}
	room, end := max(columns-1, 1), ""
	if room >= 4 {
		room, end = room-1, "…"
	}
	var out strings.Builder
	width := 0
	for cluster := uniseg.NewGraphemes(line); cluster.Next(); {
		if width += cluster.Width(); width > room {
			break
		}
		out.WriteString(cluster.Str())
	}
	return out.String() + end
}
