// SPDX-License-Identifier: Apache-2.0

package table

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() *Table {
	t := New("id", "name")
	t.Add("1", "größer")
	t.Add("22", "esc\x1b[2J\nnew line")
	t.Add("333", "")
	return t
}

// wide has names that take other room on a terminal than they have runes: wide
// ones, combined ones, and pictures of several.
func wide() *Table {
	t := New("name", "status")
	for _, name := range []string{"備份", "백업 1", "e\u0301te\u0301", "a👨‍👩‍👧b", "🇩🇪", "ｶﾙﾎ", "plain"} {
		t.Add(name, "available")
	}
	return t
}

func TestWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		table *Table
		want  string
	}{
		"aligned": {sample(), "ID   NAME\n1    größer\n22   esc\\x1b[2J\\nnew line\n333\n"},
		"wide":    {wide(), "NAME    STATUS\n備份    available\n백업 1  available\ne\u0301te\u0301     available\na👨‍👩‍👧b    available\n🇩🇪      available\nｶﾙﾎ     available\nplain   available\n"},
		"empty":   {New("id", "status"), "ID  STATUS\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if err := c.table.Write(&out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	selected, err := sample().Select([]string{"NAME", "id"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := selected.WriteValues(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("größer 1\nesc\\x1b[2J\\nnew line 22\n 333\n", out.String()); diff != "" {
		t.Error(diff)
	}
	if _, err := sample().Select([]string{"status"}); err == nil || err.Error() != `no column "status"; there are: id, name` {
		t.Errorf("unknown column: %v", err)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	fields := NewFields()
	fields.Add("id", "7")
	fields.Add("resource", "volume")
	fields.Add("resource", "image")
	for name, c := range map[string]struct {
		columns []string
		want    string
	}{
		"all":      {nil, "7\nvolume\nimage\n"},
		"one":      {[]string{"ID"}, "7\n"},
		"repeated": {[]string{"resource", "id"}, "volume\nimage\n7\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			selected, err := fields.Select(c.columns)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := selected.WriteValues(&out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := fields.Select([]string{"status"}); err == nil || err.Error() != `no field "status"; there are: id, resource` {
		t.Errorf("unknown field: %v", err)
	}
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	tab := New("id", "name")
	tab.Add("1", `say "hi", you`)
	tab.Add("2", "a\nb\x1b[2J")
	var out strings.Builder
	if err := tab.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	if want := "id,name\n1,\"say \"\"hi\"\", you\"\n2,a\\nb\\x1b[2J\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
