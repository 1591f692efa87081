// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/resource"
)

// What the Python service wrote for the graph that worked builds.
const workedText = `[{"0x0": ["OS::Cinder::Volume", "v1", "vol-1", {"availability_zone": "nova"}], ` +
	`"0x1": ["OS::Glance::Image", "i1", "cirros", {"server_id": "s1"}], ` +
	`"0x2": ["OS::Nova::Server", "s1", "vm-1", null], ` +
	`"0x3": ["OS::Nova::Server", "s2", "vm-2", null], ` +
	`"0x4": ["OS::Cinder::Volume", "v2", "vol-2", {"availability_zone": "nova"}]}, ` +
	`[["0x2", ["0x0", "0x1"]], ["0x3", ["0x0"]]]]`

func worked() *resource.Graph {
	zone := json.RawMessage(`{"availability_zone":"nova"}`)
	node := func(kind, id, name string, info json.RawMessage, children ...*resource.Node) *resource.Node {
		return &resource.Node{Resource: resource.Resource{Type: kind, ID: id, Name: name, ExtraInfo: info}, Children: children}
	}
	v1 := node(resource.Volume, "v1", "vol-1", zone)
	i1 := node(resource.Image, "i1", "cirros", json.RawMessage(`{"server_id":"s1"}`))
	return &resource.Graph{Roots: []*resource.Node{
		node(resource.Server, "s1", "vm-1", nil, v1, i1),
		node(resource.Server, "s2", "vm-2", nil, v1),
		node(resource.Volume, "v2", "vol-2", zone),
	}}
}

func TestPackWritesPythonsText(t *testing.T) {
	t.Parallel()
	got, err := resource.Pack(worked())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(workedText, got); diff != "" {
		t.Errorf("packed (-want +got):\n%s", diff)
	}
}

// Each line of the file is a resource_graph that the Python service stored.
func TestGoldenGraphsSurvive(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/resource_graphs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		want := strings.TrimSuffix(line, "\n")
		g, err := resource.Unpack(want)
		if err != nil {
			t.Errorf("unpack %s: %v", want, err)
			continue
		}
		got, err := resource.Pack(g)
		if err != nil {
			t.Errorf("pack %s: %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("packed again (-want +got):\n%s", diff)
		}
	}
}

func TestPackEscapes(t *testing.T) {
	t.Parallel()
	g := &resource.Graph{Roots: []*resource.Node{{Resource: resource.Resource{
		Type: "T", ID: "a\"b", Name: "größe \U0001F4BE", ExtraInfo: json.RawMessage(`"{\"a\": 1}"`),
	}}}}
	got, err := resource.Pack(g)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"0x0": ["T", "a\"b", "gr\u00f6\u00dfe \ud83d\udcbe", "{\"a\": 1}"]}, []]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packed (-want +got):\n%s", diff)
	}
}

func TestPackRefuses(t *testing.T) {
	t.Parallel()
	loop := &resource.Node{Resource: things("a")[0]}
	loop.Children = []*resource.Node{loop}
	if _, err := resource.Pack(&resource.Graph{Roots: []*resource.Node{loop}}); !errors.Is(err, resource.ErrLoop) {
		t.Errorf("loop: error is %v", err)
	}
	bad := &resource.Node{Resource: resource.Resource{Type: "T", ID: "a", ExtraInfo: json.RawMessage(`{secret`)}}
	_, err := resource.Pack(&resource.Graph{Roots: []*resource.Node{bad}})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("bad extra_info: error is %v", err)
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", `[{}, []]`, ""},
		{"key order is root order", `[{"0x1": ["T", "b", "", null], "0x0": ["T", "a", "", null]}, []]`, "b a"},
		{"children are no roots", `[{"0x0": ["T", "a", "", null], "0x1": ["T", "b", "", null]}, [["0x1", ["0x0"]]]]`, "b(a)"},
		{"any names", `[{"x": ["T", "a", ""], "": ["T", "b", ""]}, [["", ["x"]]]]`, "b(a)"},
		{"a shared node is one node", workedText, "s1(v1 i1) s2(v1) v2"},
		{"the last of equal keys, at the first one's place", `[{"0": ["T", "a", ""], "1": ["T", "b", ""], "0": ["T", "c", ""]}, []]`, "c b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := resource.Unpack(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := sketch(g.Roots); got != tt.want {
				t.Errorf("graph is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	const ab = `[{"a": ["T", "a", "", null], "b": ["T", "b", "", null]}, `
	tests := []struct{ name, text, want string }{
		{"parent after child", ab + `[["a", []], ["b", ["a"]], ["a", ["b"]]]]`, resource.ErrUnordered.Error()},
		{"parent twice", ab + `[["a", ["b"]], ["a", []]]]`, resource.ErrUnordered.Error()},
		{"loop", ab + `[["a", ["b"]], ["b", ["a"]]]]`, resource.ErrUnordered.Error()},
		{"own child", ab + `[["a", ["a"]]]]`, resource.ErrUnordered.Error()},
		{"unknown child", ab + `[["a", ["c"]]]]`, `unknown node "c"`},
		{"unknown parent", ab + `[["c", ["a"]]]]`, `unknown node "c"`},
		{"no text", ``, "unexpected EOF"},
		{"null", `null`, "in place of"},
		{"cut", ab, "EOF"},
		{"nodes in a list", `[[], []]`, "in place of"},
		{"short node", `[{"a": ["T", "a"]}, []]`, "2 fields in place of 4"},
		{"node of numbers", `[{"a": [1, 2, 3, 4]}, []]`, "node"},
		{"long line", ab + `[["a", [], []]]]`, "3 fields in place of 2"},
		{"more text", `[{}, []] []`, "text after the graph"},
		{"third element", `[{}, [], []]`, "in place of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := resource.Unpack(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

// A text that can be read is packed to a text that stays the same from then on.
func FuzzUnpack(f *testing.F) {
	f.Add(workedText)
	f.Add(`[{"0x0": ["T", "\ud800", "", {"n": [1e400, -0.0, 1E5]}]}, [["0x0", []]]]`)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := resource.Unpack(text)
		if err != nil {
			return
		}
		if nodes, _, err := resource.Measure(text); err != nil || nodes < g.Len() {
			t.Fatalf("measured %d nodes (%v) of %d", nodes, err, g.Len())
		}
		packed, err := resource.Pack(g)
		if err != nil {
			t.Fatalf("pack: %v", err)
		}
		back, err := resource.Unpack(packed)
		if err != nil {
			t.Fatalf("unpack %q: %v", packed, err)
		}
		if again, err := resource.Pack(back); err != nil || again != packed {
			t.Fatalf("packed %q (%v), was %q", again, err, packed)
		}
	})
}

// A name that is null is another one than the empty text, in the packed graph too.
func TestNullNamesAreKept(t *testing.T) {
	t.Parallel()
	nodes := []*resource.Node{{Resource: resource.New(resource.Image, "1", nil)}, {Resource: resource.Resource{Type: resource.Image, ID: "2"}}}
	text, err := resource.Pack(&resource.Graph{Roots: nodes})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, `["OS::Glance::Image", "1", null, null]`) || !strings.Contains(text, `["OS::Glance::Image", "2", "", null]`) {
		t.Errorf("packed as %s", text)
	}
	g, err := resource.Unpack(text)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := g.Find(resource.Key{Type: resource.Image, ID: "1"}), g.Find(resource.Key{Type: resource.Image, ID: "2"}); !a.Unnamed || b.Unnamed {
		t.Errorf("came back as %+v and %+v", a.Resource, b.Resource)
	}
}
