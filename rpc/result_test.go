// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever way a result is encoded, it reads as what encoding/json makes of it.
func TestEncodeResultMeansTheSameAsMarshal(t *testing.T) {
	t.Parallel()
	raw := map[string]json.RawMessage{"b": []byte(`[1, 2]`), "a": []byte(`"é\u00e9<"`), "nil": nil}
	type record struct {
		Name string `json:"name"`
	}
	for _, value := range []any{
		true, 7, -1, int64(1) << 60, 1.5, "", "quote \" back \\ line \n bell \a <&>", "bad \xff text",
		json.RawMessage(`{"x": 1}`), raw, Context(raw), map[string]any{"ctxt": Context(raw), "kw": raw, "n": nil, "list": []any{1, "x"}},
		map[string]any(nil), []string{"a"}, record{"n"}, map[string]any{"deep": map[string]any{"r": record{"n"}}}, json.Number("12345678901234567890"),
	} {
		want, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encodeResult(value)
		if err != nil {
			t.Errorf("%v: %v", value, err)
			continue
		}
		var a, b any
		if err := json.Unmarshal(want, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%v: %s", value, diff)
		}
	}
}

func TestEncodeResultRefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, value := range []any{
		json.RawMessage(`{`), Context{"a": []byte("x")}, map[string]any{"a": json.RawMessage("")}, make(chan int),
		map[string]any{"a": func() {}}, json.RawMessage("\"\xff\""), map[string]any{"\xff": 1},
		struct{ A json.RawMessage }{json.RawMessage("\"\xff\"")},
	} {
		if text, err := encodeResult(value); err == nil {
			t.Errorf("%v is %s", value, text)
		}
	}
}
