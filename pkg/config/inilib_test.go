// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"

	"gopkg.in/ini.v1"
	"pgregory.net/rapid"
)

// closest are the options under which the parser of ini.v1 comes nearest to
// oslo.config.
var closest = ini.LoadOptions{
	AllowShadows: true, AllowDuplicateShadowValues: true, IgnoreInlineComment: true,
	AllowPythonMultilineValues: true, IgnoreContinuation: true, ChildSectionDelimiter: "\x00",
}

// TestIniParserDiffers keeps on record why the lexer is there. A case that
// fails says that ini.v1 has come nearer to oslo.config.
func TestIniParserDiffers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"backticks":        "[s]\nk = `raw`\n",
		"continuation":     "[s]\nk = a\n    b\n",
		"indented comment": "[s]\nk = a\n  # b\n",
		"python reference": "[s]\nv = 1\nk = %(v)s\n",
		"last of several":  "[s]\nk = 1\nk = 2\n",
		"empty of several": "[s]\nk = 1\nk =\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assigned, err := lex(text)
			if err != nil {
				t.Fatal(err)
			}
			want := assigned[len(assigned)-1].value
			f, err := ini.LoadSources(closest, []byte(text))
			if err != nil {
				return
			}
			if got := f.Section("s").Key("k").String(); got == want {
				t.Errorf("both read %q", got)
			}
		})
	}
}

// TestIniWriterDiffers keeps on record why Write is there.
func TestIniWriterDiffers(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a\nb", `"quoted"`} {
		f := ini.Empty(closest)
		if _, err := f.Section("s").NewKey("k", value); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if _, err := f.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		assigned, err := lex(text.String())
		if err == nil && assigned[0].value == value {
			t.Errorf("ini.v1 wrote %q so that oslo.config reads it back", value)
		}
	}
}

// TestIniParserAgrees checks the lexer against the parser of ini.v1 on plain
// files, where the two grammars are the same.
func TestIniParserAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := "[s]\n"
		for range rapid.IntRange(1, 6).Draw(t, "lines") {
			text += rapid.SampledFrom([]string{"a", "b", "c_d"}).Draw(t, "key") +
				rapid.SampledFrom([]string{" = ", "=", ": "}).Draw(t, "separator") +
				rapid.StringMatching(`[a-z0-9/.,#;+@!-]{0,3}[a-z0-9/]`).Draw(t, "value") + "\n"
		}
		assigned, err := lex(text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ini.LoadSources(closest, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string][]string)
		for _, a := range assigned {
			want[a.key] = append(want[a.key], a.value)
		}
		for key, values := range want {
			if got := f.Section("s").Key(key).ValueWithShadows(); !slices.Equal(values, got) {
				t.Fatalf("%s: lexer %q, ini.v1 %q in\n%s", key, values, got, text)
			}
		}
	})
}
