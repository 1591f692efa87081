// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/resource"
)

// drawWorld draws a graph without loops: edges lead to higher numbers only.
func drawWorld(t *rapid.T) (world, []string) {
	n := rapid.IntRange(0, 12).Draw(t, "resources")
	id := func(i int) string { return fmt.Sprintf("r%d", i) }
	w := world{}
	for i := range n {
		for _, j := range rapid.SliceOfN(rapid.IntRange(i+1, n+1), 0, 4).Draw(t, "children") {
			if j < n {
				w[id(i)] = append(w[id(i)], id(j))
			}
		}
	}
	var starts []string
	if n > 0 {
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, n).Draw(t, "starts") {
			starts = append(starts, id(i))
		}
	}
	return w, starts
}

// reference is the plain recursive search that Build has to agree with.
func reference(w world, starts []string) string {
	done := map[string]*resource.Node{}
	isChild := map[string]bool{}
	var visit func(id string) *resource.Node
	visit = func(id string) *resource.Node {
		if n := done[id]; n != nil {
			return n
		}
		n := &resource.Node{Resource: things(id)[0]}
		taken := map[string]bool{}
		for _, c := range w[id] {
			if !taken[c] {
				taken[c], isChild[c] = true, true
				n.Children = append(n.Children, visit(c))
			}
		}
		done[id] = n
		return n
	}
	var order []string
	for _, s := range starts {
		if !slices.Contains(order, s) {
			order = append(order, s)
		}
		visit(s)
	}
	g := &resource.Graph{}
	for _, s := range order {
		if !isChild[s] {
			g.Roots = append(g.Roots, done[s])
		}
	}
	text, _ := resource.Pack(g)
	return text
}

func TestBuildIsADepthFirstSearch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, starts := drawWorld(t)
		g, err := resource.Build(context.Background(), things(starts...), w.children, rapid.IntRange(1, 4).Draw(t, "parallel"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := resource.Pack(g)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(reference(w, starts), got); diff != "" {
			t.Fatalf("graph of %v from %v (-want +got):\n%s", w, starts, diff)
		}
	})
}

func TestUnpackInvertsPack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, starts := drawWorld(t)
		children := func(ctx context.Context, r resource.Resource) ([]resource.Resource, error) {
			rs, err := w.children(ctx, r)
			for i := range rs {
				rs[i].Name = rapid.String().Draw(t, "name")
				rs[i].ExtraInfo, _ = json.Marshal(map[string]string{"k": rapid.String().Draw(t, "info")})
			}
			return rs, err
		}
		g, err := resource.Build(context.Background(), things(starts...), children, 1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := resource.Pack(g)
		if err != nil {
			t.Fatal(err)
		}
		back, err := resource.Unpack(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := resource.Pack(back)
		if err != nil {
			t.Fatal(err)
		}
		links := 0
		for _, n := range back.Nodes() {
			links += len(n.Children)
		}
		if n, l, err := resource.Measure(text); err != nil || n != back.Len() || l != links {
			t.Fatalf("measured %d nodes and %d links (%v), want %d and %d", n, l, err, back.Len(), links)
		}
		if text != again {
			t.Fatalf("packed again:\n%s\nwas:\n%s", again, text)
		}
		if got, want := sketch(back.Roots), sketch(g.Roots); got != want {
			t.Fatalf("unpacked %q, want %q", got, want)
		}
	})
}
