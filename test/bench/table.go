// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// row is one line of the table. A figure that is 0 was not measured.
type row struct {
	name string
	unit string // "" makes the row a heading
	more bool   // a larger figure is the better one
	ours float64
	peer float64 // the same in Python, measured in this run
	raw  float64 // the same with nothing but an AMQP library, measured in this run
	// quoted are the ends of a range that was measured elsewhere.
	quoted [2]float64
}

// better is how many times better a is than b, 0 if one of them is unknown.
func (r *row) better(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	if r.more {
		return a / b
	}
	return b / a
}

// table collects rows under headings.
type table struct{ rows []row }

func (t *table) heading(text string) { t.rows = append(t.rows, row{name: text}) }
func (t *table) add(r row)           { t.rows = append(t.rows, r) }

var columns = []string{"", "unit", "ours", "Python peer", "times better", "raw AMQP", "raw is better", "original*", "times better*"}

// write prints the table: names to the left, figures to the right.
func (t *table) write(out io.Writer) error {
	lines := [][]string{columns}
	for i := range t.rows {
		lines = append(lines, t.rows[i].cells())
	}
	widths := make([]int, len(columns))
	for _, line := range lines {
		if len(line) == 1 {
			continue // a heading may run over the columns
		}
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		if len(line) == 1 {
			fmt.Fprintf(&b, "\n%s\n", line[0])
			continue
		}
		text := fmt.Sprintf("%-*s  %-*s", widths[0], line[0], widths[1], line[1])
		for i := 2; i < len(line); i++ {
			text += fmt.Sprintf("  %*s", widths[i], line[i])
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *row) cells() []string {
	if r.unit == "" {
		return []string{r.name}
	}
	return []string{
		"  " + r.name, r.unit, figure(r.ours),
		figure(r.peer), times(r.better(r.ours, r.peer)),
		figure(r.raw), times(r.better(r.raw, r.ours)),
		span(r.quoted, figure), span([2]float64{r.better(r.ours, r.quoted[0]), r.better(r.ours, r.quoted[1])}, times),
	}
}

// figure prints three digits that count.
func figure(f float64) string {
	if f == 0 {
		return ""
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(f)))))
	return fmt.Sprintf("%.*f", digits, f)
}

func times(f float64) string {
	switch {
	case f == 0:
		return ""
	case f < 10:
		return fmt.Sprintf("%.1fx", f)
	default:
		return fmt.Sprintf("%.0fx", f)
	}
}

func span(ends [2]float64, text func(float64) string) string {
	if ends[0] == ends[1] {
		return text(ends[0])
	}
	return text(ends[0]) + "-" + text(ends[1])
}
