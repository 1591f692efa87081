// SPDX-License-Identifier: Apache-2.0

// Package table prints answers for people and for scripts.
package table

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/karbor-project/karbor/pkg/printable"
)

// gap stands between two columns.
const gap = "  "

// Table is what a command shows: a header and rows of the same length.
type Table struct {
	Header []string
	Rows   [][]string
	// fields reports that each row is a name and a value of one object.
	fields bool
}

// New makes an empty table of things, one in each row.
func New(header ...string) *Table { return &Table{Header: header} }

// NewFields makes an empty table of one thing: each row is a field of it.
func NewFields() *Table { return &Table{Header: []string{"field", "value"}, fields: true} }

// Add appends a row; a cell per column.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the table with columns that are aligned as a terminal shows them,
// and a header in capitals. A table without rows is its header.
func (t *Table) Write(w io.Writer) error {
	header := make([]string, len(t.Header))
	for i, name := range t.Header {
		header[i] = strings.ToUpper(name)
	}
	lines := [][]string{header}
	for _, row := range t.Rows {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = printable.Line(cell)
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(header))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	var text strings.Builder
	for _, line := range lines {
		var out strings.Builder
		for i, cell := range line {
			out.WriteString(cell)
			out.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)))
			out.WriteString(gap)
		}
		text.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// WriteValues prints the cells alone, a row per line, separated by blanks: for
// scripts that asked for one column. Of fields it prints the values.
func (t *Table) WriteValues(w io.Writer) error {
	for _, row := range t.Rows {
		if t.fields {
			row = row[1:]
		}
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable.Line(cell)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, " ")); err != nil {
			return err
		}
	}
	return nil
}

// WriteCSV prints the table as comma-separated values, the header in the first line.
func (t *Table) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable.Line(cell)
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Select is a table of the named columns only, in that order; a table of fields
// keeps the rows of these names. Case does not matter.
func (t *Table) Select(columns []string) (*Table, error) {
	switch {
	case len(columns) == 0:
		return t, nil
	case t.fields:
		return t.selectFields(columns)
	}
	selected := &Table{Rows: make([][]string, len(t.Rows))}
	for _, name := range columns {
		i := t.column(name)
		if i < 0 {
			return nil, fmt.Errorf("no column %q; there are: %s", name, strings.Join(t.Header, ", "))
		}
		selected.Header = append(selected.Header, t.Header[i])
		for j, row := range t.Rows {
			selected.Rows[j] = append(selected.Rows[j], row[i])
		}
	}
	return selected, nil
}

func (t *Table) selectFields(names []string) (*Table, error) {
	selected := NewFields()
	var known []string
	for _, row := range t.Rows {
		known = append(known, row[0])
	}
	for _, name := range names {
		before := len(selected.Rows)
		for _, row := range t.Rows {
			if strings.EqualFold(row[0], name) {
				selected.Rows = append(selected.Rows, row)
			}
		}
		if len(selected.Rows) == before {
			return nil, fmt.Errorf("no field %q; there are: %s", name, strings.Join(slices.Compact(known), ", "))
		}
	}
	return selected, nil
}

func (t *Table) column(name string) int {
	for i, header := range t.Header {
		if strings.EqualFold(header, name) {
			return i
		}
	}
	return -1
}
