// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const project = "0123456789abcdef0123456789abcdef"

// memoryRecords are tables that are maps. Down makes every write fail as a
// database that is away does.
type memoryRecords struct {
	mu       sync.Mutex
	down     bool
	logs     map[string]database.OperationLog
	restores map[string]database.Record
}

var errDown = errors.New("the database is away")

func (m *memoryRecords) CreateOperationLog(_ context.Context, row *database.OperationLog) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return "", errDown
	}
	if _, there := m.logs[row.ID]; !there {
		m.logs[row.ID] = *row
	}
	return row.ID, nil
}

func (m *memoryRecords) UpdateOperationLog(_ context.Context, id string, u database.OperationLogUpdate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.logs[id]
	switch {
	case m.down:
		return errDown
	case !ok:
		return fault.OperationLogNotFound(id)
	}
	if u.Status != nil {
		row.Status = *u.Status
	}
	if u.ErrorInfo != nil {
		row.ErrorInfo = *u.ErrorInfo
	}
	if u.EndedAt != nil {
		row.EndedAt = *u.EndedAt
	}
	m.logs[id] = row
	return nil
}

func (m *memoryRecords) GetOperationLog(_ context.Context, id string) (*database.OperationLog, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.logs[id]
	switch {
	case m.down:
		return nil, errDown
	case !ok:
		return nil, fault.OperationLogNotFound(id)
	}
	return &row, nil
}

func (m *memoryRecords) Update(_ context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.restores[id]
	switch {
	case m.down:
		return errDown
	case !ok:
		return kind.NotFound(id)
	}
	if u.Status != nil {
		row.Status = *u.Status
	}
	if row.ResourcesStatus == nil {
		row.ResourcesStatus = map[string]string{}
	}
	maps.Copy(row.ResourcesStatus, u.ResourcesStatus)
	if row.ResourcesReason == nil {
		row.ResourcesReason = map[string]string{}
	}
	maps.Copy(row.ResourcesReason, u.ResourcesReason)
	m.restores[id] = row
	return nil
}

func (m *memoryRecords) Get(_ context.Context, kind database.RecordKind, id string) (*database.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.restores[id]
	switch {
	case m.down:
		return nil, errDown
	case !ok:
		return nil, kind.NotFound(id)
	}
	row.ResourcesStatus, row.ResourcesReason = maps.Clone(row.ResourcesStatus), maps.Clone(row.ResourcesReason)
	return &row, nil
}

func (m *memoryRecords) Create(_ context.Context, _ database.RecordKind, row *database.Record) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return "", errDown
	}
	if _, there := m.restores[row.ID]; !there {
		m.restores[row.ID] = *row
	}
	return row.ID, nil
}

// log returns the one row of an operation type.
func (m *memoryRecords) log(t *testing.T, kind protection.Kind) database.OperationLog {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []database.OperationLog
	for _, row := range m.logs {
		if row.OperationType == string(kind) {
			found = append(found, row)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d rows of %s in operation_logs, want 1: %+v", len(found), kind, found)
	}
	return found[0]
}

// hookPlugin serves every type with hooks that the test gives.
type hookPlugin struct {
	operation func(kind protection.Kind, r resource.Resource) (*protection.Operation, error)
}

func (p hookPlugin) Types() []string                   { return resource.Types() }
func (p hookPlugin) Schemas(string) protection.Schemas { return protection.Schemas{} }
func (p hookPlugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	if p.operation == nil {
		return &protection.Operation{}, nil
	}
	return p.operation(kind, r)
}

// children is a cloud: the dependents of each resource.
type children map[resource.Key][]resource.Resource

func (c children) Graph(ctx context.Context, starts []resource.Resource, _ func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error) {
	graph, err := resource.Build(ctx, starts, func(_ context.Context, r resource.Resource) ([]resource.Resource, error) {
		return c[r.Key()], nil
	}, 4)
	return graph, nil, err
}

// bench is an engine with all that it works with.
type bench struct {
	engine   *Engine
	provider *providers.Provider
	records  *memoryRecords
	bank     *banktest.Faulty
	ctx      context.Context
}

func setup(t testing.TB, plugin hookPlugin, cloud children, edit ...func(*Config)) *bench {
	t.Helper()
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	b := &bench{
		records: &memoryRecords{logs: map[string]database.OperationLog{}, restores: map[string]database.Record{}},
		bank:    banktest.NewFaulty(banktest.NewMemory()),
		ctx: requestcontext.New(context.Background(), &requestcontext.RequestContext{
			ProjectID: project, UserID: "u", RequestID: "req-1"}),
	}
	var err error
	b.provider, err = providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{plugin},
		Bank: bank.New(b.bank, nil)})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Protectables: cloud, Records: b.records, Journal: journaltest.NewMemory(nil), Log: silent}
	for _, e := range edit {
		e(&c)
	}
	b.engine = New(c)
	t.Cleanup(func() { b.engine.Stop(context.Background()) })
	return b
}

func planOf(resources ...resource.Resource) Plan {
	return Plan{ID: "plan", Name: "p", ProviderID: "provider", ProjectID: project, Resources: resources}
}

var (
	server = resource.Resource{Type: resource.Server, ID: "s", Name: "vm"}
	volume = resource.Resource{Type: resource.Volume, ID: "v", Name: "vol"}
)

// finish waits until everything that was accepted has ended.
func (b *bench) finish() { _ = b.engine.Idle(context.Background()) }

func (b *bench) checkpoint(t *testing.T, id string) *checkpoint.Checkpoint {
	t.Helper()
	cp, err := b.provider.Checkpoints.Get(b.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// protected makes a checkpoint that is available.
func protected(t *testing.T, b *bench, resources ...resource.Resource) *checkpoint.Checkpoint {
	t.Helper()
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(resources...), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.wait(t, id)
	return b.checkpoint(t, id)
}

// wait waits until the checkpoint's operation has ended.
func (b *bench) wait(t *testing.T, id string) {
	t.Helper()
	await(t, "the checkpoint's operation to end", func() bool {
		return !b.checkpoint(t, id).Status().Unfinished() && !b.busy()
	})
}

func (b *bench) busy() bool {
	running, waiting := b.engine.Running()
	return running+waiting > 0
}

func requireFault(t *testing.T, err error, class, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("error %v is not of the catalogue", err)
	}
	if f.Class() != class || f.Message() != message {
		t.Errorf("got %s %q, want %s %q", f.Class(), f.Message(), class, message)
	}
}

func keys(t *testing.T, p bank.Plugin) []string {
	t.Helper()
	all, err := p.List(context.Background(), bank.ListOptions{Prefix: "/"})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestProtect(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	hook := func(name string) protection.Hook {
		return func(_ context.Context, c *protection.Call) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, c.Resource.ID+"."+name)
			return nil
		}
	}
	plugin := hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{PrepareBegin: hook("begin"), PrepareFinish: hook("finish"), Main: hook("main"), Complete: hook("complete")}, nil
	}}
	b := setup(t, plugin, children{server.Key(): {volume}})
	cp := protected(t, b, server)

	before := func(first, second string) {
		t.Helper()
		i, j := slices.Index(order, first), slices.Index(order, second)
		if i < 0 || j < 0 || i > j {
			t.Errorf("%s is not before %s in %v", first, second, order)
		}
	}
	before("s.begin", "v.begin")
	before("v.finish", "s.finish")
	before("s.finish", "s.main")
	before("v.finish", "v.main")
	before("v.complete", "s.complete")
	if len(order) != 8 {
		t.Errorf("%d hooks ran, want 8: %v", len(order), order)
	}
	if cp.Status() != checkpoint.Available {
		t.Errorf("status %s", cp.Status())
	}
	packed, _ := cp.ResourceGraph()
	if want := `[{"0x0": ["OS::Cinder::Volume", "v", "vol", null], "0x1": ["OS::Nova::Server", "s", "vm", null]}, [["0x1", ["0x0"]]]]`; packed != want {
		t.Errorf("resource graph %s, want %s", packed, want)
	}
	row := b.records.log(t, protection.Protect)
	if row.Status != "available" || row.EndedAt.IsZero() || row.CheckpointID != cp.ID() || row.PlanID != "plan" || row.ProjectID != project {
		t.Errorf("operation log %+v", row)
	}
}

func TestProtectFails(t *testing.T) {
	t.Parallel()
	boom := fault.CreateResourceFailed("Volume Backup", "no space", "v", resource.Volume)
	b := setup(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{Main: func(context.Context, *protection.Call) error { return boom }}, nil
	}}, nil)
	cp := protected(t, b, volume)
	if cp.Status() != checkpoint.Error {
		t.Errorf("status %s, want error", cp.Status())
	}
	row := b.records.log(t, protection.Protect)
	if row.Status != "error" || row.EndedAt.IsZero() || row.ErrorInfo != boom.Message() {
		t.Errorf("operation log %+v", row)
	}
}

// A flow that cannot be made leaves neither a checkpoint in protecting nor an
// open operation log.
func TestProtectWithoutFlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		wants string
	}{
		{"plugin missing", fault.ProtectionPluginNotFound("OS::X"), "Flow: protect, Error: Protection Plugin for OS::X could not be found."},
		{"no text for users", errors.New("secret"), "Flow: protect, Error: Internal error"},
	} {
		b := setup(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) { return nil, c.err }}, nil)
		_, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
		requireFault(t, err, "FlowError", c.wants)
		all, err := b.provider.Checkpoints.List(b.ctx, checkpoint.ListOptions{ProjectID: project})
		if err != nil || len(all) != 1 || all[0].Status() != checkpoint.Error {
			t.Fatalf("%s: checkpoints %v, error %v", c.name, all, err)
		}
		if row := b.records.log(t, protection.Protect); row.Status != "error" || row.EndedAt.IsZero() || row.ErrorInfo == "" {
			t.Errorf("%s: operation log %+v", c.name, row)
		}
	}
}

func TestProtectWithoutBank(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	b.bank.Queue(banktest.Put, banktest.Fault{Err: errDown})
	_, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
	requireFault(t, err, "FlowError", "Flow: protect, Error: Error creating checkpoint")
	if left := keys(t, b.bank); len(left) != 0 {
		t.Errorf("left in the bank: %v", left)
	}
}

// Observers hear of each operation when it starts and when it ends, with its caller and
// the bytes that it has moved. One that was refused has no start.
func TestObserversHearOfOperations(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(_ protection.Kind, r resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
			if r.ID == "bad" {
				return errDown
			}
			return c.Section.PutBytes(ctx, "data", make([]byte, 5000))
		}}, nil
	}}, nil)
	var mu sync.Mutex
	heard := map[string][]string{}
	b.engine.Observe = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		heard[e.ID] = append(heard[e.ID], string(e.State)+string(e.Outcome))
		if e.Kind != "protect" || e.Input != nil || e.Caller.ProjectID != e.ProjectID || e.State != journal.Ended && !e.EndedAt.IsZero() {
			t.Errorf("%+v", e)
		}
		if e.State == journal.Ended && (e.EndedAt.Before(e.CreatedAt) || (e.Reason == "") != (e.Outcome == journal.Succeeded)) {
			t.Errorf("%+v", e)
		}
		if e.Outcome == journal.Succeeded && e.Written < 5000 {
			t.Errorf("%d bytes were written", e.Written)
		}
	}
	for _, id := range []string{"good", "bad"} {
		if _, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(resource.Resource{Type: resource.Volume, ID: id}), nil); err != nil {
			t.Fatal(err)
		}
	}
	b.finish()
	b.bank.Queue(banktest.Put, banktest.Fault{Err: errDown})
	if _, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil); err == nil {
		t.Error("a bank that is down is written to")
	}
	got := []string{}
	for _, states := range heard {
		got = append(got, strings.Join(states, " "))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"endedfailed", "running endedfailed", "running endedsucceeded"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A bank that is known to be down is not waited for. Who asks for reasons reads it, and a
// repetition of the message, which may come to another worker, reads the same.
func TestProtectIntoABankThatIsDown(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	b.engine.Reachable = func(context.Context, *providers.Provider) error { return errDown }
	for _, reasons := range []bool{false, true} {
		want := "Flow: protect, Error: Error creating checkpoint"
		if reasons {
			want += ": " + errDown.Error()
		}
		m := Message{Key: fmt.Sprint(reasons), Reasons: reasons}
		_, err := b.engine.Protect(b.ctx, m, b.provider, planOf(volume), nil)
		requireFault(t, err, "FlowError", want)
		_, again, err := b.engine.Answered(b.ctx, m)
		requireFault(t, err, "FlowError", want)
		if !again {
			t.Error("a repetition of the message is a new request")
		}
	}
	for _, m := range []banktest.Method{banktest.Get, banktest.Put, banktest.List} {
		if n := b.bank.Calls(m); n > 0 {
			t.Errorf("the bank is asked %d times: %v", n, m)
		}
	}
	if left := keys(t, b.bank); len(left) != 0 {
		t.Errorf("left in the bank: %v", left)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	var got protection.Parameters
	other := resource.Resource{Type: resource.Volume, ID: "w", Name: "other"}
	b := setup(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{Main: func(_ context.Context, c *protection.Call) error {
			if c.Resource.ID == volume.ID {
				got = c.Parameters
			}
			return nil
		}}, nil
	}}, nil)
	plan := planOf(volume, other)
	plan.Parameters = Parameters{
		resource.Volume:             {"a": json.RawMessage(`"type"`), "b": json.RawMessage(`"type"`)},
		resource.Volume + "#v":      {"b": json.RawMessage(`"one"`)},
		other.Type + "#" + other.ID: {"b": json.RawMessage(`"other"`)},
	}
	if _, err := b.engine.Protect(b.ctx, Message{}, b.provider, plan, nil); err != nil {
		t.Fatal(err)
	}
	b.finish()
	if string(got["a"]) != `"type"` || string(got["b"]) != `"one"` {
		t.Errorf("parameters %s", got)
	}
	plan.Parameters[resource.Volume+"#nosuch"] = protection.Parameters{}
	_, err := b.engine.Protect(b.ctx, Message{}, b.provider, plan, nil)
	requireFault(t, err, "InvalidInput", "Invalid input received: parameters of OS::Cinder::Volume#nosuch: there is no such resource among those of the operation")
}
