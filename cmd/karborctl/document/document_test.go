// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestToYAML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"b":[1,2.5,true,null,"x"],"a":{"é":"yes"}}`: "a:\n  é: \"yes\"\nb:\n- 1\n- 2.5\n- true\n- null\n- x\n",
		`"\u001b[2J"`:          "\\x1b[2J\n",
		`12345678901234567890`: "1.2345678901234567e+19\n",
		`[]`:                   "[]\n",
	} {
		got, err := ToYAML([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%s gives %q, error %v, want %q", text, got, err, want)
		}
	}
	if _, err := ToYAML([]byte("{")); err == nil {
		t.Error("no JSON is written")
	}
}

// What is written is read as it was.
func TestToYAMLIsReadAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,20}`)
		value := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			value[text.Draw(t, "key")] = rapid.OneOf(rapid.Just[any](nil), rapid.Map(text, func(s string) any { return s }),
				rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(text, func(s string) any { return []any{s, s} })).Draw(t, "value")
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		written, err := ToYAML(encoded)
		if err != nil {
			t.Fatal(err)
		}
		read, err := YAML(written)
		if read == nil {
			read = map[string]any{}
		}
		if diff := cmp.Diff(any(value), read); err != nil || diff != "" {
			t.Errorf("%s: error %v, -want +got:\n%s", written, err, diff)
		}
	})
}
