// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"strings"
	"testing"
)

// A line is cut where a terminal's width ends, not in the middle of what is shown
// as one character.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"plain", 6, "plain"},
		{"plain", 5, "pla…"},
		{"plain", 3, "pl"},
		{"備份備份", 9, "備份備份"},
		{"備份備份", 8, "備份備…"},
		{"備份備份", 7, "備份…"},
		{"e\u0301te\u0301te\u0301", 6, "e\u0301te\u0301te\u0301"},
		{"e\u0301te\u0301te\u0301", 5, "e\u0301te\u0301…"},
		{"👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 6, "👨‍👩‍👧👨‍👩‍👧…"},
	} {
		if got := cut(c.line, c.columns); got != c.want {
			t.Errorf("%q in %d columns: got %q, want %q", c.line, c.columns, got, c.want)
		}
	}
}

// What was drawn is erased again, however many rows of a narrower window it takes.
func TestHeightOfWideLines(t *testing.T) {
	t.Parallel()
	columns := 20
	var out strings.Builder
	s := NewScreen(&out, func() (int, int) { return columns, 10 })
	s.Draw([]string{"備份備份備份", "abcdefghijkl", ""})
	for narrower, want := range map[int]int{20: 3, 12: 3, 11: 3 + 1 + 1, 6: 3 + 1 + 1, 5: 3 + 2 + 2, 4: 3 + 2 + 2} {
		if got := s.height(narrower); got != want {
			t.Errorf("%d rows in %d columns, want %d", got, narrower, want)
		}
	}
}
