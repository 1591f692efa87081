// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

const webPlan = "5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a"

// TestPrune has a real manager, whose checkpoints are all of today.
func TestPrune(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	create := func(plan, name string) string {
		return strings.TrimSpace(c.must(t, "checkpoint", "create", "No-Op", "--resource", "volume=1", "--plan-id", plan, "--name", name, "--wait", "-f", "value", "-c", "id"))
	}
	list := func() string { return c.must(t, "checkpoint", "list", "No-Op", "-f", "value", "-c", "id") }
	web := []string{create(webPlan, "web"), create(webPlan, "web"), create(webPlan, "web")}
	other := create("5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0b", "website")
	// All may be of one second, of which the largest id is the newest.
	c.must(t, "checkpoint", "reset", "No-Op", slices.Max(web), "--state", "error")
	before := list()
	plan := c.must(t, "checkpoint", "prune", "No-Op", "--plan-id", "web", "--keep-last", "1", "--dry-run")
	if list() != before {
		t.Errorf("a dry run has left\n%s\nof\n%s", list(), before)
	}
	var fates []fate
	if err := json.Unmarshal([]byte(c.must(t, "checkpoint", "prune", "No-Op", "--plan-id", webPlan, "--keep-last", "1", "--wait", "-f", "json")), &fates); err != nil {
		t.Fatal(err)
	}
	kept, removed := []string{other}, 0
	for _, one := range fates {
		if !strings.Contains(plan, one.ID+"  "+moment(&one.Created)+"  "+string(one.Status)) {
			t.Errorf("the dry run does not tell of %+v:\n%s", one, plan)
		}
		if one.Action == actionKeep {
			kept = append(kept, one.ID)
		} else {
			removed++
		}
	}
	left := strings.Fields(list())
	slices.Sort(kept)
	slices.Sort(left)
	if diff := cmp.Diff(kept, left); diff != "" || removed == 0 {
		t.Errorf("left, %d removed: %s", removed, diff)
	}
	again := c.must(t, "checkpoint", "prune", "No-Op", "--plan-id", "web", "--keep-last", "1", "--wait")
	if strings.Contains(again, actionRemove) {
		t.Errorf("the second time:\n%s", again)
	}
}

// nights is a worker that has checkpoints of many nights.
type nights struct {
	mu      sync.Mutex
	made    []night // the oldest first
	base    map[string]string
	busy    string // cannot be deleted
	verify  []map[string]any
	deleted []string
	listed  int // requests for pages
}

// night is a checkpoint.
type night struct {
	id, plan, status string
	time             time.Time
}

func (w *nights) endpoint(version string) rpc.Endpoint {
	method := func(f func(args map[string]string) (any, error)) rpc.Method {
		return rpc.Method{Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			args := map[string]string{}
			for name, value := range r.Args {
				args[name] = textOf(value)
			}
			args["version"] = r.Version
			return f(args)
		}}
	}
	return rpc.Endpoint{Version: version, Methods: map[string]rpc.Method{
		"list_checkpoints": method(w.list), "show_checkpoint": method(w.show), "delete": method(w.delete),
		"list_providers": method(func(map[string]string) (any, error) { return []any{map[string]any{"id": "p", "name": "swift"}}, nil }),
		"list_operations": method(func(args map[string]string) (any, error) {
			if args["operation_type"] == "verify" && args["provider_id"] == "p" {
				return w.verify, nil
			}
			return []any{}, nil
		}),
	}}
}

func (w *nights) list(args map[string]string) (any, error) {
	w.listed++
	var filters struct {
		Plan string `json:"plan_id"`
	}
	if err := json.Unmarshal([]byte(args["filters"]), &filters); err != nil {
		return nil, err
	}
	answer, after := []any{}, args["marker"] == ""
	for _, n := range w.made {
		if after && (filters.Plan == "" || n.plan == filters.Plan) && fmt.Sprint(len(answer)) != args["limit"] {
			view := map[string]any{"id": n.id, "status": n.status, "created_at": n.time.Format(time.DateOnly),
				"resource_graph": "[{}, []]", "protection_plan": map[string]any{"id": n.plan, "name": "web " + n.plan[:8]}}
			if args["version"] == "1.1" {
				view["timestamp"] = n.time.Unix()
			}
			answer = append(answer, view)
		}
		after = after || n.id == args["marker"]
	}
	return answer, nil
}

func (w *nights) find(id string) int {
	return slices.IndexFunc(w.made, func(n night) bool { return n.id == id })
}

func (w *nights) show(args map[string]string) (any, error) {
	at := w.find(args["checkpoint_id"])
	if at < 0 {
		return nil, fault.CheckpointNotFound(args["checkpoint_id"])
	}
	return map[string]any{"id": w.made[at].id, "status": w.made[at].status, "resource_graph": "[{}, []]"}, nil
}

// delete fails for what others build on as Cinder does: after the answer.
func (w *nights) delete(args map[string]string) (any, error) {
	id := args["checkpoint_id"]
	if id == w.busy {
		return nil, fault.CheckpointNotBeDeleted(id)
	}
	at := w.find(id)
	if slices.ContainsFunc(w.made, func(n night) bool { return w.base[n.id] == id }) {
		w.made[at].status = "error-deleting"
		return nil, nil
	}
	w.made = slices.Delete(w.made, at, at+1)
	w.deleted = append(w.deleted, id)
	return nil, nil
}

// ofNights has available checkpoints of one plan, made at noon of the days before the tool's today.
func ofNights(ids ...string) *nights {
	w := &nights{base: map[string]string{}}
	for i, id := range ids {
		w.made = append(w.made, night{id, webPlan, "available", noon.AddDate(0, 0, i-len(ids))})
	}
	return w
}

func (w *nights) left() string {
	var ids []string
	for _, n := range w.made {
		ids = append(ids, n.id)
	}
	return strings.Join(ids, " ")
}

func TestPruneTable(t *testing.T) {
	t.Parallel()
	w := ofNights("a", "b", "c", "d", "e", "f", "g")
	w.made[1].status, w.made[3].status, w.made[4].status = "error", "deleting", "error-deleting"
	w.made = append(w.made, night{"other", missing, "available", noon})
	// Listings have the newest first, and the last one that ended counts.
	w.verify = []map[string]any{
		{"id": "5", "checkpoint_id": "g", "status": "running"}, {"id": "4", "checkpoint_id": "f", "status": "failed"},
		{"id": "3", "checkpoint_id": "g", "status": "succeeded"}, {"id": "2", "checkpoint_id": "g", "status": "failed"},
	}
	got := newTool(t, w.endpoint("1.1")).must(t, "checkpoint", "prune", "swift", "--plan-id", "web 5", "--keep-daily", "1", "--keep-within", "1d")
	want := `ID  CREATED               STATUS          ACTION  REASONS
a   2026-01-24T12:00:00Z  available       remove  no rule keeps it
b   2026-01-25T12:00:00Z  error           remove  it failed, and a newer one is good
c   2026-01-26T12:00:00Z  available       remove  no rule keeps it
d   2026-01-27T12:00:00Z  deleting        keep    it is unfinished
e   2026-01-28T12:00:00Z  error-deleting  remove  it failed, and a newer one is good
f   2026-01-29T12:00:00Z  available       keep    it failed a verification: no rule counts it
g   2026-01-30T12:00:00Z  available       keep    daily snapshot of 2026-01-30, within 1d
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "e"}, w.deleted); diff != "" {
		t.Errorf("deleted: %s", diff)
	}
}

func TestPrunePages(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 2*prunePage + 7 {
		ids = append(ids, fmt.Sprintf("%03d", i))
	}
	w := ofNights(ids...)
	newTool(t, w.endpoint("1.1")).must(t, "checkpoint", "prune", "p", "--plan-id", webPlan, "--keep-last", "2")
	if got := w.left(); got != "205 206" || w.listed != 4 {
		t.Errorf("left after %d pages: %s", w.listed, got)
	}
}

// What fails does not stop the rest, and the exit code tells of it.
func TestPruneGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wait      []string
		base      map[string]string
		busy      string
		left, err string
	}{
		"refused at once": {nil, nil, "b", "b e", "karborctl: CheckpointNotBeDeleted: The checkpoint b can not be deleted.\n" +
			"karborctl: 1 of 4 checkpoints were not deleted\n"},
		"a chain that goes as a whole": {[]string{"--wait"}, map[string]string{"b": "a", "c": "b"}, "", "e", ""},
		"a chain of which one stays": {[]string{"--wait"}, map[string]string{"e": "b", "b": "a"}, "", "a b e",
			"karborctl: 2 of 4 checkpoints were not deleted\n"},
		"one that fails alone": {[]string{"--wait"}, nil, "d", "d e", "karborctl: 1 of 4 checkpoints were not deleted\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ofNights("a", "b", "c", "d", "e")
			w.base, w.busy = c.base, c.busy
			args := append([]string{"checkpoint", "prune", "p", "--plan-id", webPlan, "--keep-last", "1"}, c.wait...)
			got := newTool(t, w.endpoint("1.1")).run(t.Context(), args...)
			code := ExitOK
			if c.err != "" {
				code = ExitFailed
			}
			if got.code != code || !strings.HasSuffix(got.err, c.err) || w.left() != c.left {
				t.Errorf("left %s, want %s: %d: %s", w.left(), c.left, got.code, got.err)
			}
		})
	}
}

// A worker that does not tell the time of checkpoints makes nothing be deleted.
func TestPruneWithOldWorkers(t *testing.T) {
	t.Parallel()
	w := ofNights("a", "b")
	untimed := w.endpoint("1.1")
	whole := untimed.Methods["list_checkpoints"].Handler
	untimed.Methods["list_checkpoints"] = rpc.Method{Handler: func(ctx context.Context, r *rpc.Request) (any, error) {
		r.Version = rpc.DefaultVersion
		return whole(ctx, r)
	}}
	for name, e := range map[string]rpc.Endpoint{"of version 1.0": w.endpoint("1.0"), "without times": untimed} {
		got := newTool(t, e).run(t.Context(), "checkpoint", "prune", "p", "--plan-id", webPlan, "--keep-last", "1")
		if got.code != ExitFailed || !strings.Contains(got.err, "the worker is too old to tell when checkpoints were made") || w.left() != "a b" {
			t.Errorf("%s: %+v, left %s", name, got, w.left())
		}
	}
}

func TestPruneUsage(t *testing.T) {
	t.Parallel()
	w := ofNights("a", "b")
	w.made = append(w.made, night{"other", missing, "available", noon})
	c := newTool(t, w.endpoint("1.1"))
	for args, want := range map[string]outcome{
		"--plan-id web": {ExitUsage, "", "no rule says what is to be kept; name one or more of --keep-last, --keep-hourly, --keep-daily, --keep-weekly, " +
			"--keep-monthly, --keep-yearly, --keep-within"},
		"--plan-id web --keep-last 0 --keep-within 0d": {ExitUsage, "", "no rule says what is to be kept"},
		"--keep-last 1":                                           {ExitUsage, "", "--plan-id or --plan-file is missing"},
		"--plan-id= --keep-last 1":                                {ExitUsage, "", "--plan-id is empty"},
		"--plan-id web --plan-file x --keep-last 1":               {ExitUsage, "", "--plan-id and --plan-file: want one of them"},
		"--plan-id web --keep-daily -2":                           {ExitUsage, "", `invalid argument "-2" for "--keep-daily" flag: want a number, or unlimited (-1) for all, got "-2"`},
		"--plan-id web --keep-daily=":                             {ExitUsage, "", `invalid argument "" for "--keep-daily" flag`},
		"--plan-id web --keep-within 3x":                          {ExitUsage, "", `invalid argument "3x" for "--keep-within" flag: want a duration such as 30d, 2w or 1y5m7d3h, got "3x"`},
		"--plan-file /nonexistent --keep-last 1":                  {ExitUsage, "", "reading the plan: open /nonexistent"},
		"--plan-file testdata/plan-without-id.yaml --keep-last 1": {ExitUsage, "", "plan file testdata/plan-without-id.yaml: want the plan's id, a UUID, by which its checkpoints are found"},
		"--plan-id nosuch --keep-last 1":                          {ExitNotFound, "", `no plan of a checkpoint has the id or name "nosuch"`},
		"--plan-id web --keep-last 1":                             {ExitUsage, "", `"web" is the beginning of several: ` + missing + " web 00000000, " + webPlan + " web 5dd57c17"},
	} {
		got := c.run(t.Context(), append([]string{"checkpoint", "prune", "p"}, strings.Split(args, " ")...)...)
		if got.code != want.code || got.out != "" || !strings.HasPrefix(got.err, "karborctl: "+want.err) {
			t.Errorf("%s: %+v, want %+v", args, got, want)
		}
	}
	if got := w.left(); got != "a b other" {
		t.Errorf("left: %s", got)
	}
}
