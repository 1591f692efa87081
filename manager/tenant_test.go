// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
)

// anyVolume is a cloud that has every volume that it is asked for.
type anyVolume struct{}

func (anyVolume) Type() string          { return resource.Volume }
func (anyVolume) ParentTypes() []string { return nil }
func (anyVolume) List(context.Context, protectable.Parameters) ([]resource.Resource, error) {
	return nil, nil
}
func (anyVolume) Show(_ context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return &resource.Resource{Type: resource.Volume, ID: id}, nil
}
func (anyVolume) Dependents(context.Context, resource.Resource) ([]resource.Resource, error) {
	return nil, nil
}

// party is a project with one of everything.
type party struct {
	project, plan, checkpoint, restore, verification, operation string
}

// ids are the party's, in one order for all parties.
func (p *party) ids() []string {
	return []string{p.project, p.plan, p.checkpoint, p.restore, p.verification, p.operation}
}

// secret is in all that belongs to the party of the letter and in no request of another.
func secret(letter string) string { return "secret of " + strings.Repeat(letter, 8) }

// tenancy is a manager with two projects.
type tenancy struct {
	m     *Manager
	db    *database.DB
	store *banktest.Memory
	kept  journal.Journal
	calls map[string]rpc.Handler
	lost  atomic.Bool // the worker has just lost what it owns
	a, b  *party
	bank  map[string]banktest.Stored // as it was in the beginning
}

const tenantsProvider = "11111111-1111-4111-8111-111111111111"

func newTenancy(t *testing.T) *tenancy {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	w := &tenancy{store: banktest.NewMemory(), kept: journaltest.NewMemory(nil), calls: map[string]rpc.Handler{}}
	var err error
	if w.db, err = database.Open(t.Context(), "", database.Options{StatePath: t.TempDir(), Log: log}); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := providers.New(providers.Definition{ID: tenantsProvider, Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(w.store, nil)})
	if err != nil {
		t.Fatal(err)
	}
	protectables := protectable.NewRegistry(protectable.Options{Log: log}, anyVolume{})
	engine := operation.New(operation.Config{Protectables: protectables, Records: w.db, Log: log, Journal: w.kept, Tenure: tenure{&w.lost}})
	t.Cleanup(func() {
		engine.Stop(context.Background())
		if err := errors.Join(p.Close(), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
	w.m = New(Config{Providers: providers.NewRegistry(p), Protectables: protectables, Operations: engine, Records: w.db, Log: log})
	for _, e := range w.m.Endpoints() {
		for name, method := range e.Methods {
			w.calls[e.Namespace+"."+name] = method.Handler
		}
	}
	w.a, w.b = w.newParty(t, "a"), w.newParty(t, "b")
	w.bank = w.store.Objects()
	return w
}

// newParty lets a project protect something, with a record of each kind.
func (w *tenancy) newParty(t *testing.T, letter string) *party {
	t.Helper()
	id := func(n int) string {
		return fmt.Sprintf("%s-0000-4000-8000-%012d", strings.Repeat(letter, 8), n)
	}
	p := &party{project: strings.Repeat(letter, 32), plan: id(1), restore: id(2), verification: id(3)}
	got, err := w.call(".protect", w.caller(p.project), map[string]any{"plan": w.plan(p, letter)})
	if err != nil {
		t.Fatal(err)
	}
	p.checkpoint = got.(string)
	w.rest(t)
	found, err := w.kept.List(t.Context(), journal.Filter{ProjectID: p.project})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	p.operation = found[0].ID
	for id, kind := range map[string]database.RecordKind{p.restore: database.Restores, p.verification: database.Verifications} {
		if _, err := w.db.Create(t.Context(), kind, &database.Record{ID: id, ProjectID: p.project, ProviderID: tenantsProvider, CheckpointID: p.checkpoint,
			Status: "in_progress", ResourcesReason: map[string]string{"r": secret(letter)}}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// tenure is one that a test ends.
type tenure struct{ lost *atomic.Bool }

func (tenure) ID() string { return "99999999-9999-4999-8999-999999999999" }

func (tenure) Context() context.Context { return context.Background() }

func (t tenure) Fence() func() error {
	return func() error {
		if t.lost.Load() {
			return protection.ErrHandover
		}
		return nil
	}
}

func (w *tenancy) plan(p *party, letter string) map[string]any {
	return map[string]any{"id": p.plan, "name": secret(letter), "provider_id": tenantsProvider, "project_id": p.project,
		"resources": []any{map[string]any{"type": resource.Volume, "id": p.plan, "name": secret(letter)}}}
}

func (w *tenancy) caller(project string) *requestcontext.RequestContext {
	return &requestcontext.RequestContext{ProjectID: project, UserID: "user", Roles: []string{"member"}}
}

// call makes one call and has what panics in it fail.
func (w *tenancy) call(method string, caller *requestcontext.RequestContext, args map[string]any) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC: %v", p)
		}
	}()
	request := rpc.Request{Method: method, Args: rawMembers(args), Context: rawMembers(caller.Encode(time.Time{})), UniqueID: ""}
	return w.calls[method](context.Background(), &request)
}

func rawMembers(values map[string]any) map[string]json.RawMessage {
	raw := map[string]json.RawMessage{}
	for name, value := range values {
		text, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		raw[name] = text
	}
	return raw
}

// rest waits until no operation goes on.
func (w *tenancy) rest(t *testing.T) {
	t.Helper()
	for t.Context().Err() == nil {
		running, err := w.kept.List(t.Context(), journal.Filter{Unfinished: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(running) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// requests has for each method what a caller may ask who means well, once for each
// form of its arguments.
func (w *tenancy) requests(p *party, letter string) map[string][]map[string]any {
	one := func(members map[string]any) []map[string]any { return []map[string]any{members} }
	ofCheckpoint := map[string]any{"provider_id": tenantsProvider, "checkpoint_id": p.checkpoint}
	reading := func(id string) map[string]any {
		return map[string]any{"id": id, "project_id": p.project, "provider_id": tenantsProvider, "checkpoint_id": p.checkpoint, "parameters": map[string]any{}}
	}
	plan := w.plan(p, letter)
	listing := map[string]any{"marker": p.checkpoint, "limit": 10, "sort_keys": []string{"created_at"}, "sort_dirs": []string{"asc"}}
	with := func(more map[string]any, base map[string]any) map[string]any {
		all := maps.Clone(base)
		maps.Copy(all, more)
		return all
	}
	execute := func(action string, more map[string]any) map[string]any {
		return map[string]any{"action": action, "backup_plan": with(more, plan)}
	}
	instance := map[string]any{"protectable_type": resource.Volume, "protectable_id": "v", "parameters": map[string]any{"name": "v"}}
	return map[string][]map[string]any{
		".list_providers": one(with(map[string]any{"filters": map[string]any{"name": "x"}}, listing)),
		".show_provider":  one(map[string]any{"provider_id": tenantsProvider}),
		".list_workers":   one(map[string]any{}),
		".list_checkpoints": {
			{"provider_id": tenantsProvider},
			with(map[string]any{"provider_id": tenantsProvider}, listing),
			{"provider_id": tenantsProvider, "all_tenants": true},
			{"provider_id": tenantsProvider, "all_tenants": true, "filters": map[string]any{"project_id": p.project, "plan_id": p.plan}},
			{"provider_id": tenantsProvider, "filters": map[string]any{"plan_id": p.plan, "start_date": "2000-01-01", "end_date": "2100-01-01"}},
		},
		".show_checkpoint":             one(ofCheckpoint),
		".list_protectable_types":      one(map[string]any{}),
		".show_protectable_type":       one(map[string]any{"protectable_type": resource.Volume}),
		".list_protectable_instances":  one(map[string]any{"protectable_type": resource.Volume, "marker": "m", "limit": 1, "filters": map[string]any{"a": "b"}, "parameters": map[string]any{"region": "r"}}),
		".show_protectable_instance":   one(instance),
		".list_protectable_dependents": one(map[string]any{"protectable_type": resource.Volume, "protectable_id": "v", "protectable_name": "n"}),
		".protect":                     one(map[string]any{"plan": plan, "checkpoint_properties": map[string]any{"project_id": p.project, "status": "protecting", "extra_info": `{"created_by": "manual"}`}}),
		".copy":                        one(map[string]any{"plan": plan}),
		".restore":                     one(map[string]any{"restore": reading(p.restore), "restore_auth": map[string]any{"type": "password", "username": "u", "password": "p"}}),
		".verification":                one(map[string]any{"verification": reading(p.verification)}),
		".delete":                      one(ofCheckpoint),
		".delete_checkpoint":           one(ofCheckpoint),
		".reset_state":                 one(with(map[string]any{"state": "error"}, ofCheckpoint)),
		".list_operations": {
			{},
			{"all_tenants": true, "provider_id": tenantsProvider, "checkpoint_id": p.checkpoint, "operation_type": "protect", "marker": p.operation, "limit": 5},
		},
		".show_operation":   one(map[string]any{"operation_id": p.operation}),
		".cancel_operation": one(map[string]any{"operation_id": p.operation}),
		".execute_operation": {
			execute("protect", nil), execute("copy", nil), execute("restore", nil), execute("verify", nil),
			execute("restore", map[string]any{"checkpoint_id": p.checkpoint}), execute("verify", map[string]any{"checkpoint_id": p.checkpoint}),
			execute("delete", map[string]any{"checkpoint_id": p.checkpoint}),
		},
		RecordNamespace + ".show_restore":      one(map[string]any{"restore_id": p.restore}),
		RecordNamespace + ".show_verification": one(map[string]any{"verification_id": p.verification}),
	}
}

// each calls visit with every request in which one string was replaced: by, given
// the string, returns what may stand there.
func each(args map[string]any, by func(text string) []string, visit func(where string, args map[string]any)) {
	for path := range leaves(args) {
		for _, other := range by(leaves(args)[path]) {
			var copied map[string]any
			text, err := json.Marshal(args)
			if err == nil {
				err = json.Unmarshal(text, &copied)
			}
			if err != nil {
				panic(err)
			}
			set(copied, strings.Split(path, "\t"), other)
			visit(strings.ReplaceAll(path, "\t", "."), copied)
		}
	}
}

// leaves are the strings of a JSON value by their paths.
func leaves(value any) map[string]string {
	found := map[string]string{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch v := value.(type) {
		case string:
			found[strings.TrimPrefix(path, "\t")] = v
		case map[string]any:
			for name, member := range v {
				walk(path+"\t"+name, member)
			}
		case []any:
			for i, member := range v {
				walk(fmt.Sprint(path, "\t", i), member)
			}
		}
	}
	var plain any
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &plain)
	}
	if err != nil {
		panic(err)
	}
	walk("", plain)
	return found
}

func set(value any, path []string, text string) {
	switch v := value.(type) {
	case map[string]any:
		if len(path) == 1 {
			v[path[0]] = text
			return
		}
		set(v[path[0]], path[1:], text)
	case []any:
		var i int
		_, _ = fmt.Sscan(path[0], &i)
		if len(path) == 1 {
			v[i] = text
			return
		}
		set(v[i], path[1:], text)
	}
}

// belongings is all that is known of a party, in bank, database and journal.
func (w *tenancy) belongings(t *testing.T, p *party) string {
	t.Helper()
	var all []string
	for key, object := range w.store.Objects() {
		var document struct {
			Project string `json:"project_id"`
		}
		_ = json.Unmarshal(object.Body, &document) // not all are JSON
		if strings.HasPrefix(key, "/checkpoints/"+p.checkpoint) || strings.HasSuffix(key, p.checkpoint) || document.Project == p.project {
			all = append(all, key+"="+string(object.Body))
		}
	}
	slices.Sort(all)
	restore, err := w.db.Get(t.Context(), database.Restores, p.restore)
	if err != nil {
		t.Fatal(err)
	}
	verification, err := w.db.Get(t.Context(), database.Verifications, p.verification)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := w.kept.List(t.Context(), journal.Filter{ProjectID: p.project})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{all, restore, verification, entries})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// undo gives the bank what it had in the beginning, for copies would double it again
// and again.
func (w *tenancy) undo(t *testing.T) {
	t.Helper()
	for key := range w.store.Objects() {
		if _, was := w.bank[key]; !was {
			if err := w.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, object := range w.bank {
		w.store.Set(key, object)
	}
}

// judge makes a call and holds that b kept what it had and that nothing of it was
// answered.
func (w *tenancy) judge(t *testing.T, before, method, where string, caller *requestcontext.RequestContext, args map[string]any) {
	t.Helper()
	answer, err := w.call(method, caller, args)
	w.rest(t)
	text, encodeErr := json.Marshal(answer)
	told := string(text) + fmt.Sprint(err, fault.Detail(err))
	var class *fault.Error
	switch {
	case encodeErr != nil:
		t.Errorf("%s with another %s: the answer: %v", method, where, encodeErr)
	case err != nil && !errors.As(err, &class):
		t.Errorf("%s with another %s: %v is not of the catalogue", method, where, err)
	case err != nil && len(err.Error()) > 4096:
		t.Errorf("%s with another %s: an error of %d bytes", method, where, len(err.Error()))
	}
	if strings.Contains(told, secret("b")) {
		t.Errorf("%s with another %s told what is not the caller's: %.300s", method, where, told)
	}
	if after := w.belongings(t, w.b); after != before {
		t.Fatalf("%s with another %s changed what the other project has\nbefore %s\nafter  %s", method, where, before, after)
	}
	for key := range w.store.Objects() {
		if strings.Contains(strings.TrimPrefix(key, "/"), "//") || strings.ContainsAny(key, "\x00\n\x1b") {
			t.Errorf("%s with another %s left the key %.200q", method, where, key)
		}
	}
	w.undo(t)
}

// alike makes a request with ids of b, and the same with ids that nobody has: the
// answers tell nothing of which is which.
func (w *tenancy) alike(t *testing.T, method, where string, caller *requestcontext.RequestContext, args map[string]any) {
	t.Helper()
	answer := func(args map[string]any) string {
		result, err := w.call(method, caller, args)
		w.rest(t)
		w.undo(t)
		var class *fault.Error
		if errors.As(err, &class) {
			result = []any{class.Class(), class.Code(), class.Error(), class.Kwargs()}
		}
		text, encodeErr := json.Marshal(result)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		return anyID.ReplaceAllString(string(text), "ID")
	}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range w.b.ids() {
		text = bytes.ReplaceAll(text, []byte(id), []byte(strings.NewReplacer("a", "d", "b", "e", "1", "2").Replace(id)))
	}
	var made map[string]any
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	if theirs, nobodys := answer(args), answer(made); theirs != nobodys {
		t.Errorf("%s with another %s told apart what is there\ntheirs   %.300s\nnobody's %.300s", method, where, theirs, nobodys)
	}
}

// anyID is an id in an answer, or a time.
var anyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[a-f]{32}|20\d\d-\d\d-\d\dT[0-9:.Z]+`)

// TestTenantsApart calls every method with every id of another project in every
// member that takes an id, as a member of the first, and as nobody's. A method
// without an entry in requests fails the test.
func TestTenantsApart(t *testing.T) {
	t.Parallel()
	w := newTenancy(t)
	requests := w.requests(w.a, "a")
	others := w.requests(w.b, "a") // all ids at once
	before := w.belongings(t, w.b)
	a, nobody := w.caller(w.a.project), w.caller("")
	for _, method := range slices.Sorted(maps.Keys(w.calls)) {
		if len(requests[method]) == 0 {
			t.Errorf("%s has no request in this test", method)
		}
		for i, args := range requests[method] {
			foreign := func(text string) []string {
				if slices.Contains(w.a.ids(), text) {
					return w.b.ids()
				}
				return nil
			}
			each(args, foreign, func(where string, args map[string]any) { w.judge(t, before, method, where, a, args) })
			each(args, foreign, func(where string, args map[string]any) { w.alike(t, method, where, a, args) })
			each(args, foreign, func(where string, args map[string]any) { w.alike(t, method, where, nobody, args) })
			w.alike(t, method, "id everywhere", a, others[method][i])
			w.judge(t, before, method, "id everywhere", a, others[method][i])
			w.judge(t, before, method, "caller, of no project", nobody, args)
			w.judge(t, before, method, "caller and ids", nobody, others[method][i])
		}
	}
}

// hostile are texts that have surprised somebody, somewhere.
var hostile = []string{
	"", " ", "/", "//", "..", "../x", "a/b", "/checkpoints", "%2e%2e%2f", "a\x00b", "a\nb", "\x1b[2J", "\u202eb", "'; DROP TABLE restores; --", `"`, `\`, "%s%n", "%(x)s",
	"{}", "null", "-1", "1e400", "2026-13-45", "\ufffd", "é", strings.Repeat("9", 5000), strings.Repeat("x", 1<<16),
}

// noPart are texts that can be no part of a key.
func noPart(text string) bool {
	return text == "" || text == "." || text == ".." || len(text) > 255 || strings.ContainsFunc(text, func(c rune) bool { return c == '/' || !bank.InKeys(c) })
}

// A checkpoint that was accepted and is not in the bank yet is there for its project, as one
// that is at work, and for nobody else.
func TestCheckpointBeforeItIsMade(t *testing.T) {
	t.Parallel()
	w := newTenancy(t)
	w.lost.Store(true)
	got, err := w.call(".protect", w.caller(w.a.project), map[string]any{"plan": w.plan(w.a, "a")})
	if err != nil {
		t.Fatal(err)
	}
	id := got.(string)
	args := func(more map[string]any) map[string]any {
		all := map[string]any{"provider_id": tenantsProvider, "checkpoint_id": id}
		maps.Copy(all, more)
		return all
	}
	reading := func(p *party) map[string]any {
		return map[string]any{"restore": map[string]any{"id": p.restore, "project_id": p.project, "provider_id": tenantsProvider, "checkpoint_id": id,
			"parameters": map[string]any{}}}
	}
	for _, c := range []struct {
		by     *party
		method string
		args   map[string]any
		want   string // of the error
	}{
		{w.a, ".show_checkpoint", args(nil), ""},
		{w.a, ".delete", args(nil), "can not be deleted"},
		{w.a, ".reset_state", args(map[string]any{"state": "error"}), "can not be reset"},
		{w.a, ".restore", reading(w.a), "not available"},
		{w.b, ".show_checkpoint", args(nil), "could not be found"},
		{w.b, ".delete", args(nil), "Invalid checkpoint_id"},
		{w.b, ".reset_state", args(map[string]any{"state": "error"}), "could not be found"},
		{w.b, ".restore", reading(w.b), "could not be found"},
	} {
		answer, err := w.call(c.method, w.caller(c.by.project), c.args)
		switch {
		case c.want == "" && err == nil:
			if v, ok := answer.(checkpoint.View); !ok || v.ID != id || v.Status != checkpoint.Protecting || v.ResourceGraph == "" {
				t.Errorf("%s: %+v", c.method, answer)
			}
		case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s of project %.1s: %v, %v, want %q", c.method, c.by.project, answer, err, c.want)
		}
	}
	if diff := cmp.Diff(w.bank, w.store.Objects()); diff != "" {
		t.Errorf("the bank was written to: %s", diff)
	}
}

// TestHostilePlanIDs protects and copies plans whose id or project can be no part of a
// key in a bank, also for a caller of that project: such a plan is refused with an error
// about the input, before anything is written.
func TestHostilePlanIDs(t *testing.T) {
	t.Parallel()
	w := newTenancy(t)
	before := w.belongings(t, w.b)
	texts := append(slices.DeleteFunc(slices.Clone(hostile), func(text string) bool { return !noPart(text) }),
		w.b.plan+"/"+w.b.project, w.b.project+"/", "//"+w.b.project, w.b.plan+"/.")
	for _, text := range texts {
		for _, method := range []string{".protect", ".copy"} {
			for _, member := range []string{"id", "project_id"} {
				plan := w.plan(w.a, "a")
				plan[member] = text
				caller := w.caller(w.a.project)
				if member == "project_id" {
					caller = w.caller(text)
				}
				args := map[string]any{"plan": plan}
				_, err := w.call(method, caller, args)
				if !fault.Is(err, "InvalidInput") && !fault.Is(err, "InvalidPlan") {
					t.Errorf("%s of a plan with %s %.80q: %v", method, member, text, err)
				}
				if got := len(w.store.Objects()); got != len(w.bank) {
					t.Errorf("%s of a plan with %s %.80q left %d objects of %d", method, member, text, got, len(w.bank))
				}
				w.judge(t, before, method, "plan."+member, caller, args)
			}
		}
	}
}

// TestHostileTexts puts each of these texts into every member of every request.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	w := newTenancy(t)
	before := w.belongings(t, w.b)
	own := w.a.project
	for method, requests := range w.requests(w.a, "a") {
		for _, args := range requests {
			each(args, func(string) []string { return hostile }, func(where string, args map[string]any) {
				w.judge(t, before, method, where, w.caller(own), args)
			})
		}
	}
}
