// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
)

func argumentsOf(t *testing.T, text string) *arguments {
	t.Helper()
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return newArguments(values, operation.Message{})
}

func TestArguments(t *testing.T) {
	t.Parallel()
	a := argumentsOf(t, `{"s":"x","n":null,"b":true,"l":5,"d":"7","t":["a","b"],"one":"c","o":{"k":1}}`)
	got := []any{a.text("s"), a.text("n"), a.text("absent"), a.boolean("b"), a.boolean("n"), a.limit("l"), a.limit("d"), a.limit("n"),
		a.texts("t"), a.texts("one"), a.texts("n"), len(a.object("o")), a.object("n") == nil}
	want := []any{"x", "", "", true, false, 5, 7, 0, []string{"a", "b"}, []string{"c"}, []string(nil), 1, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := a.done(); err != nil {
		t.Error(err)
	}
}

func TestWrongArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		read func(*arguments)
		want string
	}{
		{`{"x":["s3cret"]}`, func(a *arguments) { a.text("x") }, "argument x: want a string, got a list"},
		{`{"x":1}`, func(a *arguments) { a.boolean("x") }, "argument x: want true or false, got a number"},
		{`{"x":-1}`, func(a *arguments) { a.limit("x") }, "argument x: want a whole number that is not negative, got a number"},
		{`{"x":1e30}`, func(a *arguments) { a.limit("x") }, "argument x: want a whole number that is not negative, got a number"},
		{`{"x":1.5}`, func(a *arguments) { a.limit("x") }, "argument x: want a whole number that is not negative, got a number"},
		{`{"x":{}}`, func(a *arguments) { a.texts("x") }, "argument x: want a list of strings, got an object"},
		{`{"x":"s3cret"}`, func(a *arguments) { a.object("x") }, "argument x: want an object, got a string"},
		{`{}`, func(a *arguments) { a.required("x") }, "argument x is missing"},
		{`{"x":null}`, func(a *arguments) { a.required("x") }, "argument x is missing"},
		{`{"b":1,"a":2}`, func(*arguments) {}, "unexpected argument a, b"},
	} {
		a := argumentsOf(t, c.text)
		c.read(a)
		err := a.done()
		if !fault.Is(err, "InvalidInput") || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows a value: %v", c.text, err)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	a := argumentsOf(t, `{"list_options":{"marker":"inner","limit":3},"marker":"outer"}`)
	a.spread("list_options")
	if got := a.text("marker"); got != "outer" {
		t.Errorf("marker %q, want that of the call", got)
	}
	if got := a.limit("limit"); got != 3 {
		t.Errorf("limit %d, want 3", got)
	}
	if err := a.done(); err != nil {
		t.Error(err)
	}
}

func TestIsUUID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"0e0f0c0a-0000-4000-8000-000000000001":          true,
		"0E0F0C0A00004000800000000000000A":              true,
		"urn:uuid:0e0f0c0a-0000-4000-8000-000000000001": true,
		"{0e0f0c0a-0000-4000-8000-000000000001}":        true,
		"0e0f0c0a-0000-4000-8000-00000000000":           false,
		"0e0f0c0a-0000-4000-8000-00000000000g":          false,
		"":                                              false,
	} {
		if got := isUUID(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestPlanOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{`{"id":"p","provider_id":"x","resources":[{"id":"v","type":"t","name":null,"extra_info":"{}"}],"parameters":{"t":{"a":null}}}`, ""},
		{`{"provider_id":"x"}`, "id is missing"},
		{`{"id":"p"}`, "provider_id is missing"},
		{`{"id":1,"provider_id":"x"}`, "id: want a string, got a number"},
		{`{"id":"p","provider_id":"x","resources":{}}`, "resources: want a list of objects, got an object"},
		{`{"id":"p","provider_id":"x","resources":["a"]}`, "resources: want a list of objects, got a list"},
		{`{"id":"p","provider_id":"x","resources":[{"id":"v"}]}`, "resources[0]: id and type are required"},
		{`{"id":"p","provider_id":"x","resources":[{"id":"v","type":"t"},{"id":"v","type":"t","bogus":1}]}`, "resources[1]: unexpected member bogus"},
		{`{"id":"p","provider_id":"x","parameters":[]}`, "parameters: want an object, got a list"},
		{`{"id":"p","provider_id":"x","parameters":{"t":null}}`, "parameters of t: want an object, got null"},
	} {
		_, err := planOf(argumentsOf(t, c.text).values, 0)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || err.Error() != c.want):
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
	}
}
