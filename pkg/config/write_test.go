// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// line draws one line of a value: any text with what the grammar is about more
// often than not.
func lineOf(t *rapid.T, label string) string {
	return rapid.StringOf(rapid.OneOf(
		rapid.SampledFrom([]rune(" \t\"'`#;=:[]\\$%{}.,xyz\u00a0\x1f\u2028")),
		rapid.Rune().Filter(func(r rune) bool { return r != '\n' && r != '\r' }),
	)).Draw(t, label)
}

func valueOf(t *rapid.T) string {
	lines := []string{lineOf(t, "line")}
	for range rapid.IntRange(0, 3).Draw(t, "more lines") {
		if more := trim(lineOf(t, "line")); more != "" {
			lines = append(lines, more)
		}
	}
	return strings.Join(lines, "\n")
}

func TestWrittenFileReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var written []Assignment
		var want []assignment
		for range rapid.IntRange(0, 8).Draw(t, "assignments") {
			a := Assignment{
				Group: rapid.SampledFrom([]string{"", "a", "A", "b c"}).Draw(t, "group"),
				Name:  rapid.SampledFrom([]string{"x", "y_z", "x y"}).Draw(t, "name"),
				Value: valueOf(t),
			}
			written = append(written, a)
			group := a.Group
			if group == "" {
				group = DefaultGroup
			}
			want = append(want, assignment{section: group, key: a.Name, value: a.Value})
		}
		var text strings.Builder
		if err := Write(&text, written); err != nil {
			t.Fatal(err)
		}
		got, err := lex(text.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		for i := range got {
			got[i].line = 0
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(assignment{})); diff != "" {
			t.Fatalf("%s\nfrom\n%s", diff, text.String())
		}
	})
}

func TestEscapedTextIsLiteral(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// A backslash before a dollar sign escapes it too and has no escape of its own.
		literal := strings.ReplaceAll(lineOf(t, "literal"), `\`, "")
		r := newResolver(&Source{}, nil, &table{})
		got, err := r.expand(&setting{option: &Option{Name: "o"}}, Escape(literal))
		if err != nil || got != literal {
			t.Fatalf("%q became %q, %v", literal, got, err)
		}
	})
}

func TestWriteRefusesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, a := range []Assignment{
		{"", "x", "a\n\nb"}, {"", "x", "a\n b"}, {"", "x", "a\rb"}, {"", "x", "\xff"},
		{"", "", "v"}, {"", " x", "v"}, {"", "[x", "v"}, {"", "#x", "v"}, {"", "x=y", "v"}, {"", "x:y", "v"},
		{"a\nb", "x", "v"},
	} {
		var text strings.Builder
		if err := Write(&text, []Assignment{{"", "first", "v"}, a}); err == nil || text.Len() > 0 {
			t.Errorf("%q: error %v, wrote %q", a, err, text.String())
		}
	}
}

// FuzzLex checks that no input breaks the lexer and that what it reads can be
// written and read again.
func FuzzLex(f *testing.F) {
	for _, seed := range []string{
		"[DEFAULT]\nhost = a # b\n  more\n", "[a]b]\nk: \"v\"\n", "# c\n; c\n[s]\n=", "[s]\r\nx='\r\n", "\ufeff[s]", "[s]\nk\xff=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		assigned, err := lex(text)
		if err != nil {
			var bad *ParseError
			if !asParseError(err, &bad) || bad.Line < 1 || bad.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if _, err := newFile("fuzz", assigned); err != nil {
			t.Fatal(err)
		}
		var again []Assignment
		for _, a := range assigned {
			again = append(again, Assignment{a.section, a.key, a.value})
		}
		var written strings.Builder
		if err := Write(&written, again); err != nil {
			// A blank other than space and tab may stand before a key, which
			// then begins like a comment or section when it is written.
			odd := func(a assignment) bool { return strings.ContainsAny(a.key[:1], "[#;") }
			if !slices.ContainsFunc(assigned, odd) {
				t.Fatal(err)
			}
			return
		}
		got, err := lex(written.String())
		if err != nil {
			t.Fatalf("%v in\n%q", err, written.String())
		}
		same := func(a, b assignment) bool { return a.section == b.section && a.key == b.key && a.value == b.value }
		if !slices.EqualFunc(assigned, got, same) {
			t.Fatalf("%+v became %+v", assigned, got)
		}
	})
}

func asParseError(err error, into **ParseError) bool {
	e, ok := err.(*ParseError)
	*into = e
	return ok
}
