// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"strings"
	"testing"
)

var validSeeds = []string{
	"", " ", "{}", "[]", `{"a": [1, -0.5e+3, true, false, null, "x\u00e9\n"], "b": {}}`, `{"a":1,}`, `[1,]`, `{"a"}`, `{,}`,
	"01", "1.", "-", "1e", "1e+", ".5", "+1", "tru", "nul", `"\x"`, `"\u12g4"`, `"\u12`, "\"\n\"", `"`, `"\`, "{} {}", "[1 2]",
	" \t\r\n1 ", "\xff", "\"\xff\"", "[[[[[[]]]]]]", "]", "}", "NaN", `{"a":1 "b":2}`, `{1:2}`,
}

func TestValidJSONNesting(t *testing.T) {
	t.Parallel()
	for _, depth := range []int{1, 100, 9999, 10000, 10001, 10002} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if got, want := validJSON(text), json.Valid(text); got != want {
			t.Errorf("depth %d: %t, encoding/json says %t", depth, got, want)
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, s := range validSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := validJSON(text), json.Valid(text); got != want {
			t.Errorf("%q: %t, encoding/json says %t", text, got, want)
		}
	})
}
