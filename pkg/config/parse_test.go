// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseBeyondVectors covers what oslo.config has no like of: 64 bits, and
// choices of numbers and of the items of a list.
func TestParseBeyondVectors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		option Option
		text   string
		want   any
		err    string
	}{
		{Option{Kind: Int}, "9223372036854775808", nil, "want a 64-bit integer"},
		{Option{Kind: Int, Choices: []string{"1", "5"}}, "05", int64(5), ""},
		{Option{Kind: Int, Choices: []string{"1", "5"}}, "2", nil, "want one of 1, 5"},
		{Option{Kind: Int, Min: Bound(2)}, "1", nil, "want an integer of at least 2"},
		{Option{Kind: Int, Max: Bound(2)}, "3", nil, "want an integer of at most 2"},
		{Option{Kind: List, Choices: []string{"a", "b"}}, "b,a", []string{"b", "a"}, ""},
		{Option{Kind: List, Choices: []string{"a", "b"}}, "a,c", nil, "want one of a, b"},
	} {
		value, err := test.option.parse(test.text)
		if test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%v %q: error %v, want %s", test.option.Kind, test.text, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, value); diff != "" || err != nil {
			t.Errorf("%v %q: %v %s", test.option.Kind, test.text, err, diff)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(Source{}, []Option{
		{Name: "base", Default: "x"},
		{Name: "float", Kind: Float, Default: 2},
		{Name: "int", Kind: Int, Default: int64(3)},
		{Name: "text", Kind: Int, Default: "4"},
		{Name: "one", Kind: MultiString, Default: "$base/1"},
		{Name: "empty", Kind: MultiString, Default: ""},
		{Name: "list", Kind: List, Default: []string{"$base", "b"}},
		{Name: "comma", Kind: List, Default: "$base,c"},
		{Name: "dict", Kind: Dict, Default: map[string]string{"k": "$base"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		c.Float("", "float"), c.Int("", "int"), c.Int("", "text"), c.MultiString("", "one"),
		c.MultiString("", "empty"), c.List("", "list"), c.List("", "comma"), c.Dict("", "dict"),
	}
	want := []any{
		2.0, 3, 4, []string{"x/1"}, []string{}, []string{"x", "b"}, []string{"x", "c"}, map[string]string{"k": "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPythonText(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{
		"":                   nil,
		"False":              false,
		"1e+16":              1e16,
		"1e-05":              0.00001,
		"-inf":               -inf(),
		`["it's", 'a\\b\n']`: []string{"it's", "a\\b\n"},
		`['\'"']`:            []string{`'"`},
		"{'a': '1', 'b': ''}": map[string]string{
			"b": "", "a": "1",
		},
	} {
		if got := pythonText(value); got != want {
			t.Errorf("%#v: %s, want %s", value, got, want)
		}
	}
}

func inf() float64 {
	value, _ := (&Option{Kind: Float}).parse("1e999")
	return value.(float64)
}
