// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	swiftbank "github.com/karbor-project/karbor/bank/swift"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// TestListingInFolder pages through 2,500 checkpoints in a file-system bank in
// every way that there is.
func TestListingInFolder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	folder := t.TempDir()
	p := s.fsProvider(folder, noop)
	store, err := filesystem.New(filesystem.Config{Path: folder, Container: "karbor"}, nil)
	must(t, err)
	l := newLibrary(t, s, store, p.id, librarySize(t, 2500))
	s.started("worker")
	l.checkWhole()
	l.checkPages(7, 333)
	l.checkFilters()
	l.checkTenants()
}

// TestListingInSwift does the same in Swift, where a listing of everything
// costs a request for each checkpoint, with fewer checkpoints and pages: the
// third page is the last one, and a short one.
func TestListingInSwift(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL")
	s := newSite(t)
	account := swift(t)
	container := account.container()
	p := s.swiftProvider(container, noop)
	store, err := swiftbank.New(swiftbank.Config{
		AuthURL: os.Getenv("KARBOR_TEST_KEYSTONE"), User: "karbor", Key: password, Tenant: "service",
		ProjectDomainName: "Default", UserDomainName: "Default", Container: container, RetryAttempts: 3, RetryBackoff: time.Second,
	}, nil)
	must(t, err)
	l := newLibrary(t, s, sparse{store}, p.id, librarySize(t, 300))
	w := s.started("worker")
	l.checkWhole()
	l.checkPages(3, 100)
	l.checkFilters()
	l.checkTenants()
	t.Logf("the worker had %.1f MiB resident at most", w.memory("VmHWM"))
}

// sparse leaves out index entries that no listing of the test reads, to make the
// library with half the requests: those by date, and those of other plans.
type sparse struct{ bank.Plugin }

func (s sparse) Put(ctx context.Context, key string, u bank.Upload) error {
	unread := strings.HasPrefix(key, "/indices/by-date/") ||
		strings.HasPrefix(key, "/indices/by-plan/") && !strings.HasPrefix(key, "/indices/by-plan/"+soughtPlan)
	if unread {
		return nil
	}
	return s.Plugin.Put(ctx, key, u)
}

// soughtPlan is the one of the library's plans whose checkpoints are asked for.
const soughtPlan = "6b1f6f0a-5f0e-4f5c-9d0e-0d6a1d0c7a11"

// booked is a checkpoint as the test knows it from having made it.
type booked struct {
	id, project, plan, date string
	timestamp               int64
}

// library is a bank with many checkpoints: of two projects, five plans and five
// days, several within each second.
type library struct {
	t        *testing.T
	provider string
	books    []booked // in the order of a listing
	api      *api     // of the first project
	projects [2]string
}

// librarySize is KARBOR_TEST_CHECKPOINTS, or what is usual.
func librarySize(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("KARBOR_TEST_CHECKPOINTS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

func newLibrary(t *testing.T, s *site, store bank.Plugin, provider string, size int) *library {
	t.Helper()
	l := &library{t: t, provider: provider, api: s.api(stranger())}
	// Swift answers a request for each checkpoint of a listing, on a slow machine for longer than a call may last.
	l.api.client = l.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 5 * patience })
	l.projects = [2]string{l.api.caller.ProjectID, projectID()}
	plans := [5]string{soughtPlan, uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()}
	b := bank.New(store, nil)
	defer func() { must(t, b.Close()) }()
	began := time.Now()
	first := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range size {
		at := first.AddDate(0, 0, i%5).Add(time.Duration(i/20) * time.Second)
		book := booked{id: uuid.NewString(), project: l.projects[i%10/9], plan: plans[i%7%5], date: at.Format(time.DateOnly), timestamp: at.Unix()}
		l.books = append(l.books, book)
		collection := checkpoint.NewCollection(b, provider, checkpoint.Options{
			Clock: func() time.Time { return at }, NewID: func() string { return book.id },
		})
		group.Go(func() error { return put(ctx, collection, book, provider) })
	}
	must(t, group.Wait())
	t.Logf("%d checkpoints were made in %s", size, time.Since(began).Round(time.Millisecond))
	slices.SortFunc(l.books, func(a, b booked) int {
		return cmp.Or(cmp.Compare(a.timestamp, b.timestamp), cmp.Compare(a.id, b.id))
	})
	return l
}

func put(ctx context.Context, collection *checkpoint.Collection, b booked, provider string) error {
	_, err := collection.Create(ctx, checkpoint.CreateOptions{Status: checkpoint.Available, Plan: checkpoint.Plan{
		ID: b.plan, Name: "functional", ProviderID: provider, ProjectID: b.project,
	}})
	return err
}

// want are the ids of the checkpoints that are kept, in the order asked for.
func (l *library) want(desc bool, keep func(booked) bool) []string {
	var ids []string
	for _, b := range l.books {
		if keep(b) {
			ids = append(ids, b.id)
		}
	}
	if desc {
		slices.Reverse(ids)
	}
	return ids
}

func (l *library) mine(b booked) bool { return b.project == l.projects[0] }

// list asks as karbor-api does.
func (l *library) list(a *api, args map[string]any) []string {
	l.t.Helper()
	all := map[string]any{"provider_id": l.provider, "marker": nil, "limit": nil, "sort_keys": []string{"created_at"},
		"sort_dirs": []string{"asc"}, "filters": map[string]any{}}
	for name, value := range args {
		all[name] = value
	}
	var views []checkpointView
	a.call("list_checkpoints", all, &views)
	var ids []string
	for _, v := range views {
		ids = append(ids, v.ID)
	}
	return ids
}

func (l *library) check(what string, a *api, want []string, args map[string]any) {
	l.t.Helper()
	if diff := gocmp.Diff(want, l.list(a, args)); diff != "" {
		if len(diff) > 2000 {
			diff = diff[:2000] + "..."
		}
		l.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (l *library) checkWhole() {
	l.t.Helper()
	began := time.Now()
	l.check("all", l.api, l.want(false, l.mine), nil)
	l.t.Logf("%d of %d checkpoints were listed in %s", len(l.want(false, l.mine)), len(l.books), time.Since(began).Round(time.Millisecond))
}

// checkPages walks through pages by marker and limit, in both directions.
func (l *library) checkPages(pages, limit int) {
	l.t.Helper()
	for _, desc := range []bool{false, true} {
		want, marker := l.want(desc, l.mine), any(nil)
		for page := 0; page < pages && len(want) > 0; page++ {
			n := min(limit, len(want))
			l.check(fmt.Sprintf("page %d, descending %v", page, desc), l.api, want[:n],
				map[string]any{"marker": marker, "limit": limit, "sort_dirs": []string{direction(desc)}})
			marker, want = want[n-1], want[n:]
		}
	}
	last := l.want(false, l.mine)
	l.check("after the last one", l.api, nil, map[string]any{"marker": last[len(last)-1], "limit": limit})
	l.api.refused("CheckpointNotFound", "list_checkpoints", map[string]any{"provider_id": l.provider, "marker": uuid.NewString(), "filters": map[string]any{}})
}

func direction(desc bool) string {
	if desc {
		return "desc"
	}
	return "asc"
}

func (l *library) checkFilters() {
	l.t.Helper()
	ofPlan := func(b booked) bool { return l.mine(b) && b.plan == soughtPlan }
	l.check("of a plan", l.api, l.want(false, ofPlan), map[string]any{"filters": map[string]any{"plan_id": soughtPlan}})
	newest := l.want(true, ofPlan)
	l.check("second page of a plan, descending", l.api, newest[10:30], map[string]any{
		"filters": map[string]any{"plan_id": soughtPlan}, "marker": newest[9], "limit": 20, "sort_dirs": []string{"desc"}})
	l.check("of no plan", l.api, nil, map[string]any{"filters": map[string]any{"plan_id": uuid.NewString()}})

	days := map[string]any{"start_date": "2026-03-02", "end_date": "2026-03-03"}
	within := func(x booked) bool { return l.mine(x) && (x.date == "2026-03-02" || x.date == "2026-03-03") }
	l.check("of two days, the newest 50", l.api, l.want(true, within)[:50],
		map[string]any{"filters": days, "limit": 50, "sort_dirs": []string{"desc"}})
	l.check("since the last day", l.api, l.want(false, func(x booked) bool { return l.mine(x) && x.date == "2026-03-05" }),
		map[string]any{"filters": map[string]any{"start_date": "2026-03-05"}})
	l.check("of a plan on a day", l.api, l.want(false, func(x booked) bool { return ofPlan(x) && x.date == "2026-03-02" }),
		map[string]any{"filters": map[string]any{"plan_id": soughtPlan, "start_date": "2026-03-02", "end_date": "2026-03-02"}})
}

// checkTenants sees to it that projects do not see each other, and that an
// administrator sees all.
func (l *library) checkTenants() {
	l.t.Helper()
	theirs := func(b booked) bool { return b.project == l.projects[1] }
	other := l.api.as(&requestcontext.RequestContext{UserID: "u", ProjectID: l.projects[1], RequestID: requestcontext.NewRequestID()})
	l.check("of the other project", other, l.want(false, theirs), nil)
	l.check("all_tenants of no administrator", other, l.want(false, theirs)[:20], map[string]any{"all_tenants": true, "limit": 20})
	l.check("of a third project", l.api.as(stranger()), nil, nil)

	root := stranger()
	root.IsAdmin = true
	admin := l.api.as(root)
	every := func(booked) bool { return true }
	l.check("an administrator's own project", admin, nil, nil)
	l.check("all projects, the newest 200", admin, l.want(true, every)[:200],
		map[string]any{"all_tenants": true, "limit": 200, "sort_dirs": []string{"desc"}})
	l.check("an administrator's look at one project", admin, l.want(false, theirs),
		map[string]any{"all_tenants": true, "filters": map[string]any{"project_id": l.projects[1]}})
	theirFirst := l.want(false, theirs)[0]
	l.api.refused("CheckpointNotFound", "show_checkpoint", map[string]any{"provider_id": l.provider, "checkpoint_id": theirFirst})
	l.api.refused("InvalidInput", "delete", map[string]any{"provider_id": l.provider, "checkpoint_id": theirFirst})
}
