// SPDX-License-Identifier: Apache-2.0

package versionedobject

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const prefix = "karbor_object"

func read(t testing.TB, name string) json.RawMessage {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// same compares two texts as JSON; the order of changes means nothing.
func same(t *testing.T, a, b json.RawMessage) {
	t.Helper()
	var v [2]any
	for i, text := range []json.RawMessage{a, b} {
		if err := json.Unmarshal(text, &v[i]); err != nil {
			t.Fatal(err)
		}
	}
	unordered := cmp.FilterPath(func(p cmp.Path) bool {
		for _, step := range p {
			if m, ok := step.(cmp.MapIndex); ok && m.Key().String() == prefix+keyChanges {
				return true
			}
		}
		return false
	}, cmpopts.SortSlices(func(a, b any) bool { return a.(string) < b.(string) }))
	if diff := cmp.Diff(v[0], v[1], unordered); diff != "" {
		t.Error(diff)
	}
}

func TestChecklist56_GoldenObjects(t *testing.T) {
	t.Parallel()
	golden := read(t, "trigger.json")
	o, err := Decode(golden, prefix)
	if err != nil {
		t.Fatal(err)
	}
	again, err := o.Encode(prefix)
	if err != nil {
		t.Fatal(err)
	}
	same(t, golden, again)
	if !o.IsSet("updated_at") || !o.IsNull("updated_at") || o.IsSet("deleted_at") || o.IsNull("deleted_at") {
		t.Error("unset and null are the same")
	}
	if name, ok, err := o.String("name"); name != "t1" || !ok || err != nil {
		t.Errorf("name: %q, %v, %v", name, ok, err)
	}
	if deleted, ok, err := o.Bool("deleted"); deleted || !ok || err != nil {
		t.Errorf("deleted: %v, %v, %v", deleted, ok, err)
	}
	if _, _, err := o.Int("name"); err == nil {
		t.Error("a string read as an integer")
	}
	var properties struct{ Format, Pattern string }
	if ok, err := o.Get("properties", &properties); !ok || err != nil || properties.Pattern != "0 9 * * *" {
		t.Errorf("properties: %+v, %v, %v", properties, ok, err)
	}
}

func TestChecklist56_ListsOfBothStyles(t *testing.T) {
	t.Parallel()
	var args map[string]json.RawMessage
	if err := json.Unmarshal(read(t, "lists.json"), &args); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"trig", "l"} {
		list, err := List(args[name], prefix)
		if err != nil || len(list) != 1 || list[0].Name != "Trigger" {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	if !Is(args["l"], prefix) || Is(args["trig"], prefix) || Is(args["l"], "nova_object") {
		t.Error("objects are not told from other values")
	}
	if list, err := List(json.RawMessage("null"), prefix); err != nil || len(list) != 0 {
		t.Errorf("null: %v, %v", list, err)
	}
	for _, text := range []string{`[1]`, `{"a": 1}`, `"x"`, `{"karbor_object.name": "L", "karbor_object.namespace": "karbor", "karbor_object.version": "1.0", "karbor_object.data": {}}`} {
		if _, err := List(json.RawMessage(text), prefix); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestChecklist56_ChangesAndNesting(t *testing.T) {
	t.Parallel()
	inner := &Object{Name: "Trigger", Namespace: "karbor", Version: "1.0", Changes: []string{"gone", "name", "name"}}
	if err := inner.Set("name", "t"); err != nil {
		t.Fatal(err)
	}
	raw, err := inner.Encode(prefix)
	if err != nil {
		t.Fatal(err)
	}
	same(t, json.RawMessage(`{"karbor_object.name": "Trigger", "karbor_object.namespace": "karbor", "karbor_object.version": "1.0",
		"karbor_object.data": {"name": "t"}, "karbor_object.changes": ["name"]}`), raw)
	outer := &Object{Name: "Outer", Namespace: "karbor", Version: "1.0", Data: map[string]json.RawMessage{"trigger": raw, "none": json.RawMessage("null")}}
	text, err := outer.Encode(prefix)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text, prefix)
	if err != nil {
		t.Fatal(err)
	}
	if got.Changes != nil {
		t.Errorf("changes: %v", got.Changes)
	}
	if nested, err := got.Object("trigger", prefix); err != nil || nested.Name != "Trigger" {
		t.Errorf("%v, %v", nested, err)
	}
	if nested, err := got.Object("none", prefix); err != nil || nested != nil {
		t.Errorf("%v, %v", nested, err)
	}
	empty, err := (&Object{}).Encode(prefix)
	if err != nil {
		t.Fatal(err)
	}
	same(t, json.RawMessage(`{"karbor_object.name": "", "karbor_object.namespace": "", "karbor_object.version": "", "karbor_object.data": {}}`), empty)
}

func TestChecklist57_DateTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-01-02T03:04:05Z":             at,
		"2024-01-02T03:04:05":              at,
		"2024-01-02 03:04:05":              at,
		"2024-01-02T03:04:05+02:00":        at,
		"2024-01-02T03:04:05-0230":         at,
		"2024-01-02T03:04:05UTC+02:00":     at,
		"2024-01-02 03:04:05+00:00":        at,
		"2024-01-02T03:04:05.123Z":         at.Add(123 * time.Millisecond),
		"2024-01-02T03:04:05.678901":       at.Add(678901 * time.Microsecond),
		"2024-01-02T03:04:05.678901+02:00": at.Add(678901 * time.Microsecond),
		"2024-01-02T03:04":                 at.Add(-5 * time.Second),
		"2024-01-02":                       at.Truncate(24 * time.Hour),
	} {
		got, err := ParseTime(text)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "now", "2024-13-02T03:04:05Z", "03:04:05", "2024-01-02T"} {
		if _, err := ParseTime(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	zone := time.FixedZone("", 2*3600)
	if got := FormatTime(at.Add(999 * time.Millisecond).In(zone)); got != "2024-01-02T03:04:05Z" {
		t.Errorf("written as %s", got)
	}
	o := &Object{Data: map[string]json.RawMessage{"at": json.RawMessage(`"2024-01-02T03:04:05Z"`), "bad": json.RawMessage(`"x"`)}}
	if got, ok, err := o.Time("at"); !ok || err != nil || !got.Equal(at) {
		t.Errorf("%v, %v, %v", got, ok, err)
	}
	if _, _, err := o.Time("bad"); err == nil {
		t.Error("no error")
	}
}

func TestChecklist58_VersionsAndNamespaces(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"1.0": true, "1.2": true, "1.2.7": true, "1.3": false, "2.0": false, "0.1": false, "1": false, "x.y": false,
	} {
		o := &Object{Name: "Trigger", Namespace: "karbor", Version: version}
		err := o.Expect("karbor", "Trigger", "1.2")
		var incompatible *IncompatibleError
		if ok != (err == nil) || !ok && !errors.As(err, &incompatible) {
			t.Errorf("%s: %v", version, err)
		}
	}
	o := &Object{Name: "Trigger", Namespace: "cinder", Version: "1.1"}
	if err := o.Expect("karbor", "Trigger", "1.0"); err == nil || err.Error() != "Unsupported object type cinder.Trigger" {
		t.Error(err)
	}
	if err := o.Expect("cinder", "Trigger", "1.0"); err == nil || err.Error() != "Version 1.1 of Trigger is not supported, supported version is 1.0" {
		t.Error(err)
	}
	if err := o.Expect("cinder", "Nope", "1.0"); err == nil {
		t.Error("another name is accepted")
	}
	for _, text := range []string{`1`, `{}`, `{"karbor_object.name": "x"}`, `{"karbor_object.name": 1, "karbor_object.namespace": "", "karbor_object.version": "", "karbor_object.data": {}}`,
		`{"karbor_object.name": "", "karbor_object.namespace": "", "karbor_object.version": "", "karbor_object.data": null}`} {
		if _, err := Decode(json.RawMessage(text), prefix); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(read(f, "trigger.json")))
	f.Add([]byte(`{"karbor_object.name": "x", "karbor_object.namespace": "", "karbor_object.version": "1.0", "karbor_object.data": {"a": null}, "karbor_object.changes": ["a", "b"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := Decode(text, prefix)
		if err != nil {
			return
		}
		again, err := o.Encode(prefix)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decode(again, prefix)
		if err != nil {
			t.Fatal(err)
		}
		p.Changes, o.Changes = nil, nil
		if diff := cmp.Diff(o.Name, p.Name); diff != "" || len(o.Data) != len(p.Data) {
			t.Fatalf("%s became %s", text, again)
		}
	})
}

func ExampleDecode() {
	plan, err := Decode(json.RawMessage(`{"karbor_object.name": "Plan", "karbor_object.namespace": "karbor",
		"karbor_object.version": "1.0", "karbor_object.data": {"name": "daily"}}`), "karbor_object")
	if err != nil {
		return
	}
	name, _, _ := plan.String("name")
	_, _ = os.Stdout.WriteString(name)
	// Output: daily
}
