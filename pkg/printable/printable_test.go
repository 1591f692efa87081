// SPDX-License-Identifier: Apache-2.0

package printable

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are texts that move a cursor, ring, set a title, turn the writing
// direction, or begin a line.
var hostile = map[string]string{
	"a\nb":                    `a\nb`,
	"a\r\tb\v\f":              `a\r\tb\v\f`,
	"\x1b[2J":                 `\x1b[2J`,
	"\x1b]0;title\a":          `\x1b]0;title\a`,
	"\x00\x7f":                `\x00\x7f`,
	"\u0085\u009b31m":         `\u0085\u009b31m`,
	"\x9b31m":                 `\x9b31m`,
	"\u2028\u2029":            `\u2028\u2029`,
	"\u202eexe.gpj\u202c":     `\u202eexe.gpj\u202c`,
	"\u2066x\u2069":           `\u2066x\u2069`,
	"\u061c\u200e\u200f":      `\u061c\u200e\u200f`,
	"\ufeff\u00ad\U000e0001":  `\ufeff\u00ad\U000e0001`,
	"\xed\xa0\x80":            `\xed\xa0\x80`,
	"größer \\n":              `größer \n`,
	"備份\u3000백업\u00a0x":       "備份\u3000백업\u00a0x",
	"a👨\u200d👩\u200d👧b\ufffd": "a👨\u200d👩\u200d👧b\ufffd",
}

func TestLine(t *testing.T) {
	t.Parallel()
	for text, want := range hostile {
		if got := Line(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for text := range hostile {
		checkJSON(t, text)
	}
	const raw = "{\n  \"\xff\u202e\": \"\x7f\U000e0001\"\n}"
	if got, want := string(JSON([]byte(raw))), "{\n  \"\\ufffd\\u202e\": \"\\u007f\\udb40\\udc01\"\n}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{strings.Repeat("x", 100), 30, strings.Repeat("x", 11) + "...(89 more bytes)"},
		{strings.Repeat("ß", 50), 30, strings.Repeat("ß", 5) + "...(90 more bytes)"},
		{strings.Repeat("x", 100), 1, "...(100 more bytes)"},
	} {
		if got := Cut(c.text, c.limit); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		if !utf8.ValidString(line) {
			t.Errorf("%q became %q, which is no UTF-8", text, line)
		}
		for _, r := range line {
			if unicode.Is(unicode.Bidi_Control, r) || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) {
				t.Errorf("%q keeps %U", text, r)
			}
		}
		if again := Line(line); again != line {
			t.Errorf("%q became %q and then %q", text, line, again)
		}
		plain := utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) })
		if plain && line != text {
			t.Errorf("printable %q became %q", text, line)
		}
		checkJSON(t, text)
	})
}

// checkJSON holds a document with the text in a key and a value to what JSON
// promises.
func checkJSON(t *testing.T, text string) {
	t.Helper()
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{text: []any{text, 1}}); err != nil {
		t.Fatal(err)
	}
	safe := JSON(document.Bytes())
	for _, r := range string(safe) {
		if r != '\n' && !shown(r) {
			t.Errorf("%q keeps %U", text, r)
		}
	}
	var before, after any
	if err := json.Unmarshal(document.Bytes(), &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(safe, &after); err != nil {
		t.Fatalf("%s: %v", safe, err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("%q means %v, not %v any more", text, after, before)
	}
}
