// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/resource"
)

// world is a fixed set of resources: "a" is a resource of type T with id a.
type world map[string][]string

func (w world) children(_ context.Context, parent resource.Resource) ([]resource.Resource, error) {
	return things(w[parent.ID]...), nil
}

func things(ids ...string) []resource.Resource {
	var rs []resource.Resource
	for _, id := range ids {
		rs = append(rs, resource.Resource{Type: "T", ID: id, Name: "name of " + id})
	}
	return rs
}

// sketch writes a graph as "a(b c(d))", a shared node in full at each place.
func sketch(nodes []*resource.Node) string {
	var parts []string
	for _, n := range nodes {
		s := n.ID
		if len(n.Children) > 0 {
			s += "(" + sketch(n.Children) + ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestBuild(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		world  world
		starts []string
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"roots keep their order", nil, []string{"b", "a", "c"}, "b a c"},
		{"a child is no root", world{"s1": {"v1", "i1"}, "s2": {"v1"}}, []string{"s1", "s2", "v1", "v2"}, "s1(v1 i1) s2(v1) v2"},
		{"a child that comes first is no root", world{"s": {"v"}}, []string{"v", "s"}, "s(v)"},
		{"children keep their order", world{"p": {"c", "a", "b"}}, []string{"p"}, "p(c a b)"},
		{"diamond", world{"p": {"a", "b"}, "a": {"z"}, "b": {"z"}}, []string{"p"}, "p(a(z) b(z))"},
		{"repeats count once", world{"p": {"a", "a", "b", "a"}}, []string{"p", "p"}, "p(a b)"},
		{"short and long way", world{"p": {"z", "a"}, "a": {"z"}}, []string{"p"}, "p(z a(z))"},
	}
	for _, tt := range tests {
		for _, parallel := range []int{0, 1, 8} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, parallel), func(t *testing.T) {
				t.Parallel()
				g, err := resource.Build(t.Context(), things(tt.starts...), tt.world.children, parallel)
				if err != nil {
					t.Fatal(err)
				}
				if got := sketch(g.Roots); got != tt.want {
					t.Errorf("graph is %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestBuildFindsLoops(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		world  world
		starts []string
	}{
		{"itself", world{"a": {"a"}}, []string{"a"}},
		{"each other", world{"a": {"b"}, "b": {"a"}}, []string{"a", "b"}},
		{"below a root", world{"p": {"x", "a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}, []string{"p"}},
		{"beside a sound graph", world{"p": {"x"}, "a": {"b"}, "b": {"a"}}, []string{"p", "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := resource.Build(t.Context(), things(tt.starts...), tt.world.children, 2)
			if !errors.Is(err, resource.ErrLoop) {
				t.Errorf("error is %v, want a loop", err)
			}
		})
	}
}

func TestBuildAsksOncePerResource(t *testing.T) {
	t.Parallel()
	w := world{"p": {"a", "b"}, "a": {"z"}, "b": {"z", "a"}, "z": {"y"}}
	var mu sync.Mutex
	asked := map[string]int{}
	children := func(ctx context.Context, r resource.Resource) ([]resource.Resource, error) {
		mu.Lock()
		asked[r.ID]++
		mu.Unlock()
		return w.children(ctx, r)
	}
	if _, err := resource.Build(t.Context(), things("p", "z", "p"), children, 4); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"p": 1, "a": 1, "b": 1, "z": 1, "y": 1}, asked); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// The plan's name stays, because the checkpoint belongs to the plan; of the
// two kinds of extra_info the object says more.
func TestBuildMergesWhatPlanAndProtectableSay(t *testing.T) {
	t.Parallel()
	text, first, second := json.RawMessage(`"{}"`), json.RawMessage(`{"server_id": "s1"}`), json.RawMessage(`{"server_id": "s2"}`)
	volume := resource.Resource{Type: resource.Volume, ID: "v", Name: "old name", ExtraInfo: text}
	server := func(id string) resource.Resource { return resource.Resource{Type: resource.Server, ID: id} }
	project := resource.Resource{Type: resource.Project, ID: "p"}
	image := func(info json.RawMessage) resource.Resource {
		return resource.Resource{Type: resource.Image, ID: "i", Name: "cirros", ExtraInfo: info}
	}
	children := func(_ context.Context, r resource.Resource) ([]resource.Resource, error) {
		switch r.ID {
		case "p": // the image is met below s1 first, though s2 is asked at the same level
			return []resource.Resource{server("s1"), server("s2")}, nil
		case "s1":
			return []resource.Resource{image(first), {Type: resource.Volume, ID: "v", Name: "new name", ExtraInfo: json.RawMessage(`{"availability_zone": "nova"}`)}}, nil
		case "s2":
			return []resource.Resource{image(second)}, nil
		}
		return nil, nil
	}
	g, err := resource.Build(t.Context(), []resource.Resource{volume, project, server("s2")}, children, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := volume
	want.ExtraInfo = json.RawMessage(`{"availability_zone": "nova"}`)
	if diff := cmp.Diff(want, g.Find(volume.Key()).Resource); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(image(first), g.Find(image(nil).Key()).Resource); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if g.Find(resource.Key{Type: "T", ID: "v"}) != nil {
		t.Error("found a resource of another type")
	}
}

func TestBuildReportsTheFirstFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("no such service")
	bDone := make(chan struct{})
	children := func(ctx context.Context, r resource.Resource) ([]resource.Resource, error) {
		switch r.ID {
		case "a": // fails after b has, and still counts first
			<-bDone
			return nil, broken
		case "b":
			close(bDone)
			return nil, errors.New("the later failure")
		default:
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	_, err := resource.Build(t.Context(), things("x", "a", "b"), children, 3)
	if !errors.Is(err, broken) {
		t.Fatalf("error is %v, want %v", err, broken)
	}
	if !strings.Contains(err.Error(), "T#a") {
		t.Errorf("error %q does not name the resource", err)
	}
}

func TestBuildStopsWithTheContext(t *testing.T) {
	t.Parallel()
	lost := errors.New("lease lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	children := func(ctx context.Context, r resource.Resource) ([]resource.Resource, error) {
		cancel(lost)
		return things("b"), nil
	}
	if _, err := resource.Build(ctx, things("a"), children, 1); !errors.Is(err, lost) {
		t.Errorf("error is %v, want the cause", err)
	}
}

func TestBuildBoundsCalls(t *testing.T) {
	t.Parallel()
	const limit = 3
	slots := make(chan struct{}, limit)
	full := make(chan struct{}) // closed when limit calls run at once
	var once sync.Once
	children := func(_ context.Context, r resource.Resource) ([]resource.Resource, error) {
		select {
		case slots <- struct{}{}:
		default:
			return nil, errors.New("too many calls at once")
		}
		if len(slots) == limit {
			once.Do(func() { close(full) })
		}
		<-full
		<-slots
		return nil, nil
	}
	var ids []string
	for i := range 3 * limit {
		ids = append(ids, fmt.Sprint(i))
	}
	if _, err := resource.Build(t.Context(), things(ids...), children, limit); err != nil {
		t.Fatal(err)
	}
}

func TestBuildPassesPanicsToTheCaller(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v != "broken plugin" {
			t.Errorf("recovered %v", v)
		}
	}()
	children := func(context.Context, resource.Resource) ([]resource.Resource, error) { panic("broken plugin") }
	_, err := resource.Build(t.Context(), things("a", "b"), children, 2)
	t.Errorf("no panic, error %v", err)
}

func TestWalkStopsAtAnError(t *testing.T) {
	t.Parallel()
	w := world{"p": {"a", "b"}}
	g, err := resource.Build(t.Context(), things("p"), w.children, 1)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	var seen []string
	err = g.Walk(func(n *resource.Node) error {
		seen = append(seen, n.ID)
		if n.ID == "b" {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("walked %v with error %v", seen, err)
	}
}

func TestKeyNamesTypeAndID(t *testing.T) {
	t.Parallel()
	if got := things("a")[0].Key().String(); got != "T#a" {
		t.Errorf("key is %q", got)
	}
	if types := resource.Types(); len(types) != 8 || !slices.Contains(types, resource.Pod) {
		t.Errorf("types are %v", types)
	}
}
