// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// plugin answers Dependents from a table.
type plugin struct {
	kind       string
	parents    []string
	dependents map[string][]string
	err        error
	extra      bool // each names its parent as its server
}

func (p *plugin) Type() string          { return p.kind }
func (p *plugin) ParentTypes() []string { return p.parents }
func (p *plugin) List(context.Context, Parameters) ([]resource.Resource, error) {
	return nil, nil
}
func (p *plugin) Show(context.Context, string, Parameters) (*resource.Resource, error) {
	return nil, nil
}
func (p *plugin) Dependents(_ context.Context, parent resource.Resource) ([]resource.Resource, error) {
	var found []resource.Resource
	for _, id := range p.dependents[parent.ID] {
		r := resource.Resource{Type: p.kind, ID: id}
		if p.extra {
			r.ExtraInfo = ExtraInfo(map[string]string{"server_id": parent.ID})
		}
		found = append(found, r)
	}
	return found, p.err
}

func plugins() (image, server, volume *plugin) {
	image = &plugin{kind: resource.Image, parents: []string{resource.Server, resource.Project}, dependents: map[string][]string{"s1": {"i1"}}}
	server = &plugin{kind: resource.Server, parents: []string{resource.Project}, dependents: map[string][]string{"p": {"s1", "s2"}}}
	volume = &plugin{kind: resource.Volume, parents: []string{resource.Server, resource.Project}, dependents: map[string][]string{"s1": {"v1"}, "s2": {"v1"}, "p": {"v1", "v2"}}}
	return image, server, volume
}

func ids(resources []resource.Resource) []string {
	out := []string{}
	for _, r := range resources {
		out = append(out, r.ID)
	}
	return out
}

func TestTypes(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	r := NewRegistry(Options{}, image, server, volume)
	if diff := cmp.Diff([]string{resource.Image, resource.Server, resource.Volume}, r.Types()); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{resource.Image, resource.Volume}, r.DependentTypes(resource.Server)); diff != "" {
		t.Errorf("dependent types (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{}, r.DependentTypes("OS::Nova")); diff != "" {
		t.Errorf("a part of a type's name counts:\n%s", diff)
	}
	if p, err := r.Get(resource.Server); p != server || err != nil {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := r.Get("OS::X"); !fault.Is(err, "ProtectableTypeNotFound") {
		t.Errorf("got %v", err)
	}
}

func TestGraph(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	r := NewRegistry(Options{Parallel: 2}, image, server, volume)
	graph, _, err := r.Graph(t.Context(), []resource.Resource{{Type: resource.Project, ID: "p"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range graph.Nodes() {
		order = append(order, n.ID)
	}
	if diff := cmp.Diff([]string{"i1", "v1", "s1", "s2", "v2", "p"}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a cloud does not have is left out of a graph. A service that answers with an
// error is not: its resources would be missing in the checkpoint.
func TestListingsThatFailEndTheGraph(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	forbidden := gophercloud.ErrUnexpectedResponseCode{Actual: http.StatusForbidden}
	for _, p := range []*plugin{image, server, volume} {
		p.err = ListFailed(p.kind, forbidden)
		_, _, err := NewRegistry(Options{}, image, server, volume).Graph(t.Context(), []resource.Resource{{Type: resource.Project, ID: "p"}}, nil)
		if !fault.Is(err, "ListProtectableResourceFailed") || !gophercloud.ResponseCodeIs(err, http.StatusForbidden) {
			t.Errorf("%s: got %v", p.kind, err)
		}
		p.err = nil
	}
}

func TestMissingServiceIsSkippedAndLogged(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	server.err = ListFailed(resource.Server, fmt.Errorf("nova: %w", openstack.ErrNoService))
	log, hook := test.NewNullLogger()
	r := NewRegistry(Options{Log: log}, image, server, volume)
	got, err := r.Dependents(t.Context(), resource.Resource{Type: resource.Project, ID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v1", "v2"}, ids(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(hook.Entries) != 1 || hook.LastEntry().Data["type"] != resource.Server {
		t.Errorf("logged %v", hook.Entries)
	}
}

// What is left out of a graph is remarked, once for all parents of a type: types without
// a service, and what could not be looked for.
func TestWhatIsLeftOutIsRemarked(t *testing.T) {
	t.Parallel()
	starts := []resource.Resource{{Type: resource.Server, ID: "s1"}, {Type: resource.Server, ID: "s2"}}
	left := func(why string) []remark.Remark {
		return []remark.Remark{{Resource: remark.Resource{Type: resource.Image}, Aspect: "dependent resources", Was: "those of OS::Nova::Server", Is: "not protected", Why: why}}
	}
	for name, c := range map[string]struct {
		err  error
		want []remark.Remark
	}{
		"no service":         {ListFailed(resource.Image, fmt.Errorf("glance: %w", openstack.ErrNoService)), left("the cloud has no such service")},
		"unlisted":           {ErrUnlisted, left(ErrUnlisted.Error())},
		"no cluster":         {kubernetes.ErrNotConfigured, []remark.Remark{}},
		"the parent is gone": {ListFailed(resource.Image, gophercloud.ErrUnexpectedResponseCode{Actual: http.StatusNotFound}), []remark.Remark{}},
		"all there":          {nil, []remark.Remark{}},
	} {
		image, server, volume := plugins()
		image.err = c.err
		_, got, err := NewRegistry(Options{}, image, server, volume).Graph(t.Context(), starts, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOtherFailureEndsTheGraph(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	volume.err = ShowFailed(resource.Pod, "x", errors.New("gone"))
	r := NewRegistry(Options{}, image, server, volume)
	if _, _, err := r.Graph(t.Context(), []resource.Resource{{Type: resource.Project, ID: "p"}}, nil); !fault.Is(err, "ProtectableResourceNotFound") {
		t.Errorf("got %v", err)
	}
}

func TestCancelledListingIsNotSkipped(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	server.err = ListFailed(resource.Server, ctx.Err())
	r := NewRegistry(Options{}, image, server, volume)
	if _, err := r.Dependents(ctx, resource.Resource{Type: resource.Project, ID: "p"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	var loads atomic.Int32
	load := func(context.Context) (int, error) { return int(loads.Add(1)), nil }
	type key struct{}
	ctx := withMemo(t.Context(), nil)
	for range 3 {
		if n, err := Once(ctx, key{}, load); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if n, _ := Once(t.Context(), key{}, load); n != 2 {
		t.Errorf("without a graph: got %d", n)
	}
	failed := errors.New("no")
	for range 2 {
		if _, err := Once(ctx, "other", func(context.Context) (int, error) { loads.Add(1); return 0, failed }); err != failed {
			t.Errorf("got %v", err)
		}
	}
	if loads.Load() != 3 {
		t.Errorf("%d loads", loads.Load())
	}
}

func TestOnceWaitsOnlyAsLongAsItsCaller(t *testing.T) {
	t.Parallel()
	ctx := withMemo(t.Context(), nil)
	began, end := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = Once(ctx, "k", func(context.Context) (int, error) { close(began); <-end; return 1, nil })
	}()
	<-began
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Once(short, "k", func(context.Context) (int, error) { return 2, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(end)
	<-done
}

func TestMany(t *testing.T) {
	t.Parallel()
	if Many(t.Context(), resource.Server) {
		t.Error("there are many outside of a graph")
	}
	starts := func(kind string, n int) []resource.Resource {
		return slices.Repeat([]resource.Resource{{Type: kind}}, n)
	}
	for name, tc := range map[string]struct {
		starts []resource.Resource
		want   bool
	}{
		"a few":                 {starts(resource.Server, few), false},
		"more than a few":       {starts(resource.Server, few+1), true},
		"many of another type":  {starts(resource.Volume, few+1), false},
		"those of a project":    {starts(resource.Project, 1), true},
		"nothing to start with": {nil, false},
	} {
		if got := Many(withMemo(t.Context(), tc.starts), resource.Server); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// judge is a plugin that knows what is unfit.
type judge struct {
	*plugin
	unfit map[string]string
}

func (j judge) Unfit(_ context.Context, resources []resource.Resource) (map[string]string, error) {
	reasons := map[string]string{}
	for _, r := range resources {
		if why := j.unfit[r.ID]; why != "" {
			reasons[r.ID] = why
		}
	}
	return reasons, nil
}

// What cannot be protected as it is is left out where it may be, with what needs it and
// with what nothing else has, and each is told of by name and reason. The servers s1 and
// s2 share the volume v1, s1 has the image i1; the project has the servers and the volumes.
func TestUnfitIsLeftOut(t *testing.T) {
	t.Parallel()
	project := []resource.Resource{{Type: resource.Project, ID: "p"}}
	servers := []resource.Resource{{Type: resource.Server, ID: "s1", Name: "one"}, {Type: resource.Server, ID: "s2"}}
	const broken, needs, alone = "its status is error", "it needs OS::Cinder::Volume#v1: its status is error", "nothing that is protected has it"
	for name, c := range map[string]struct {
		starts   []resource.Resource
		unfit    string
		optional string // "" is all
		want     []string
		left     map[string]string
		err      string
	}{
		"nothing is unfit": {starts: project, want: []string{"i1", "v1", "s1", "s2", "v2", "p"}},
		"a server of a project: its volume is the project's too": {starts: project, unfit: "s1",
			want: []string{"v1", "s2", "v2", "p"}, left: map[string]string{"s1": broken, "i1": alone}},
		"a server of a plan: the other one has its volume": {starts: servers, unfit: "s1",
			want: []string{"v1", "s2"}, left: map[string]string{"s1": broken, "i1": alone}},
		"a volume of servers": {starts: project, unfit: "v1",
			want: []string{"v2", "p"}, left: map[string]string{"v1": broken, "s1": needs, "s2": needs, "i1": alone}},
		"a volume that the plan names beside its server": {starts: append([]resource.Resource{{Type: resource.Volume, ID: "v1"}}, servers[1]), unfit: "s2",
			want: []string{"v1"}, left: map[string]string{"s2": broken}},
		"a volume that is of no server": {starts: project, unfit: "v2",
			want: []string{"i1", "v1", "s1", "s2", "p"}, left: map[string]string{"v2": broken}},
		"nothing would be left": {starts: servers, unfit: "v1",
			err: "None of the plan's resources can be protected. OS::Nova::Server#s1: " + needs + "."},
		"what is unfit may not be left out": {starts: project, unfit: "v2", optional: resource.Server,
			want: []string{"i1", "v1", "s1", "s2", "v2", "p"}},
		"what needs it may not be left out": {starts: project, unfit: "v1", optional: resource.Volume,
			err: "OS::Nova::Server#s1 cannot be protected without OS::Cinder::Volume#v1: its status is error. It may not be left out itself (on_unfit)."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, server, volume := plugins()
			unfit := map[string]string{c.unfit: broken}
			r := NewRegistry(Options{}, image, judge{server, unfit}, judge{volume, unfit})
			graph, remarks, err := r.Graph(t.Context(), c.starts, func(r resource.Resource) bool { return c.optional == "" || c.optional == r.Type })
			if c.err != "" {
				if !fault.Is(err, "InvalidInput") || !strings.HasSuffix(err.Error(), c.err) {
					t.Fatalf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, node := range graph.Nodes() {
				got = append(got, node.ID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("graph (-want +got):\n%s", diff)
			}
			left := map[string]string{}
			for _, one := range remarks {
				left[one.Resource.ID] = one.Why
				if one.Resource.ID == "s1" && c.starts[0].Name == "one" && one.Was != "one" {
					t.Errorf("the server is called %q", one.Was)
				}
			}
			if diff := cmp.Diff(c.left, left, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}

// The image that two servers share is protected as the disk of the one that is left.
func TestReportOfWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	image, server, volume := plugins()
	image.dependents = map[string][]string{"s1": {"i1"}, "s2": {"i1"}}
	image.extra = true
	r := NewRegistry(Options{}, image, judge{server, map[string]string{"s1": "broken"}}, volume)
	graph, _, err := r.Graph(t.Context(), []resource.Resource{{Type: resource.Project, ID: "p"}}, func(resource.Resource) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if got := string(graph.Find(resource.Key{Type: resource.Image, ID: "i1"}).ExtraInfo); got != `{"server_id":"s2"}` {
		t.Errorf("the image is that of %s", got)
	}
}
