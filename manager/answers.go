// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/rpc"
)

// listCheckpoints answers a list of checkpoint.View, within the bounds of answers. It lists the
// checkpoints of the caller's project or, if an administrator sets all_tenants, of all projects or
// of filters.project_id.
func (m *Manager) listCheckpoints(ctx context.Context, a *arguments) (any, error) {
	a.spread("list_options")
	p, err := m.provider(a)
	if err != nil {
		return nil, err
	}
	caller := requestcontext.From(ctx)
	o := checkpoint.ListOptions{
		ProjectID:  caller.ProjectID,
		AllTenants: a.boolean("all_tenants") && caller.IsAdmin,
		Marker:     a.marker(),
		Limit:      a.limit("limit"),
		Descending: a.descending(),
	}
	filters := a.object("filters")
	if err := a.done(); err != nil {
		return nil, err
	}
	for name, date := range map[string]*string{"start_date": &o.StartDate, "end_date": &o.EndDate} {
		if *date, err = filterDate(filters, name); err != nil {
			return nil, err
		}
	}
	plan, ofPlan := filterText(filters, "plan_id")
	project, ofProject := filterText(filters, "project_id")
	o.PlanID = plan
	if o.AllTenants && ofProject {
		o.ProjectID, o.AllTenants = project, false
	}
	if ofPlan && plan == "" || ofProject && project == "" {
		// An empty project_id matches nothing: it may come from an unset variable of a caller that
		// deletes whatever is listed.
		o.ProjectID, o.AllTenants = "", false
	}
	views := m.listings.begin()
	defer views.done()
	if err := p.Checkpoints.Look(ctx, o, func(l *checkpoint.Listed) error {
		text, err := l.Encoded(!a.original())
		if err != nil {
			m.log.WithField("checkpoint", l.ID()).Warnf("left out of a listing: %v", err)
			return nil
		}
		return views.add(rpc.Encoded(text))
	}); err != nil {
		return nil, err
	}
	return views.answer(), nil
}

// descending reads sort_keys and sort_dirs. Checkpoints are ordered by creation only; the caller
// may choose the direction.
func (a *arguments) descending() bool {
	a.texts("sort_keys")
	dirs := a.texts("sort_dirs")
	if len(dirs) == 0 || dirs[0] == "" {
		return false
	}
	dir := strings.ToLower(dirs[0])
	if dir != "asc" && dir != "desc" {
		name := "sort_dirs"
		if kindOf(a.raw(name)) == "a list" {
			name += "[0]"
		}
		a.refuse(name, `"asc" or "desc"`, fmt.Sprintf("%.40q", dirs[0]))
	}
	return dir == "desc"
}

// marker returns the id of the checkpoint that the listing begins after. An empty id is refused as
// in the original, which uses it as the path of a section.
func (a *arguments) marker() string {
	marker := a.text("marker")
	if marker == "" && a.raw("marker") != nil && a.err == nil {
		a.err = fault.InvalidParameterValue("Empty section")
	}
	return marker
}

// filterText returns a filter and whether it was given. karbor-api evaluates filters as Python
// literals before it sends them, so an id of digits only arrives as a number, and [1] as a list,
// whose text matches no id.
func filterText(filters map[string]json.RawMessage, name string) (text string, given bool) {
	value := filters[name]
	if isNull(value) {
		return "", false
	}
	if json.Unmarshal(value, &text) != nil {
		text = string(value)
	}
	return text, true
}

// filterDate returns a filter that is a date, if it is truthy in Python.
func filterDate(filters map[string]json.RawMessage, name string) (string, error) {
	value := filters[name]
	if slices.Contains([]string{"", "null", "false", "0", "[]", "{}"}, string(value)) {
		return "", nil
	}
	var date string
	if json.Unmarshal(value, &date) != nil {
		return "", fault.InvalidInput("filter " + name + ": want a date of the form YYYY-MM-DD, got " + kindOf(value))
	}
	return date, nil
}

// original reports whether the request uses the API version of the original.
func (a *arguments) original() bool { return a.version == "" || a.version == rpc.DefaultVersion }

// view returns a checkpoint as the requested version of the API shows it.
func (a *arguments) view(cp *checkpoint.Checkpoint) checkpoint.View {
	view := cp.View()
	if !a.original() {
		view.Timestamp = cp.Timestamp()
	}
	return view
}

// remarkedCheckpoint is a checkpoint with its remarks on what will not be restored exactly.
type remarkedCheckpoint struct {
	checkpoint.View
	Remarks     []remark.Remark `json:"remarks"`
	MoreRemarks int             `json:"more_remarks,omitempty"`
}

// showCheckpoint answers a checkpoint.View, or a remarkedCheckpoint in version 1.1. Deleted
// checkpoints are shown too.
func (m *Manager) showCheckpoint(ctx context.Context, a *arguments) (any, error) {
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := m.accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	view := a.view(cp)
	if err := view.Check(); err != nil {
		return nil, fault.KarborException("Checkpoint " + id + " cannot be shown: " + err.Error())
	}
	if a.original() {
		return view, nil
	}
	said, err := remarksOf(ctx, cp)
	return remarkedCheckpoint{View: view, Remarks: append([]remark.Remark{}, said.Remarks...), MoreRemarks: said.More}, err
}

// remarksOf reads the remarks of a checkpoint. If the stored remarks are invalid, it returns a
// remark that says so, and the checkpoint can still be shown.
func remarksOf(ctx context.Context, cp *checkpoint.Checkpoint) (remark.Document, error) {
	said, err := cp.Remarks(ctx)
	if errors.Is(err, checkpoint.ErrRemarks) {
		damage := remark.Remark{Resource: remark.Resource{Type: "checkpoint", ID: cp.ID()}, Aspect: "remarks", Is: "not readable", Why: fault.From(err).Message()}
		return remark.Document{Remarks: []remark.Remark{damage}}, nil
	}
	return said, err
}

// errForeign is the logged reason why an existing checkpoint was reported as not found. The answer
// does not tell a caller about checkpoints of other projects.
var errForeign = errors.New("it is another project's")

// accessible finds a checkpoint that the caller may access, including one that was accepted and is
// not in the bank yet. For other callers the checkpoint does not exist.
func (m *Manager) accessible(ctx context.Context, p *providers.Provider, id string) (*checkpoint.Checkpoint, error) {
	cp, err := p.Checkpoints.Get(ctx, id)
	if fault.Is(err, "CheckpointNotFound") {
		cp, err = m.operations.Opening(ctx, p, id)
	}
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(cp.ProjectID()) {
		return nil, fault.CheckpointNotFound(id).WithCause(errForeign)
	}
	return cp, nil
}

// checkpointArguments reads the arguments of methods whose only subject is a checkpoint.
func (m *Manager) checkpointArguments(a *arguments) (*providers.Provider, string, error) {
	p, err := m.provider(a)
	if err != nil {
		return nil, "", err
	}
	id := a.required("checkpoint_id")
	return p, id, a.done()
}

// readable finds the checkpoint that a restore or a verification is to read.
func (m *Manager) readable(ctx context.Context, p *providers.Provider, id string) (*checkpoint.Checkpoint, error) {
	cp, err := m.accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if cp.Status() != checkpoint.Available {
		return nil, fault.CheckpointNotAvailable(id)
	}
	return cp, nil
}

// deletable are the statuses in which no operation works on a checkpoint. In any other status the
// checkpoint must be ownerless to be deleted.
var deletable = []checkpoint.Status{checkpoint.Available, checkpoint.Error, checkpoint.ErrorDeleting}

// delete starts the deletion of a checkpoint and answers null.
func (m *Manager) delete(ctx context.Context, a *arguments) (any, error) {
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := m.accessible(ctx, p, id)
	if fault.Is(err, "CheckpointNotFound") || fault.Is(err, "InvalidParameterValue") {
		return nil, fault.InvalidInput("Invalid checkpoint_id or provider_id").WithCause(err)
	}
	if err != nil {
		return nil, err // the id may be valid, but the bank or the checkpoint cannot be read
	}
	if !slices.Contains(deletable, cp.Status()) {
		if ownerless, err := m.operations.Ownerless(ctx, p, cp); err != nil || !ownerless {
			return nil, fault.CheckpointNotBeDeleted(id).WithCause(err)
		}
	}
	return nil, m.operations.Delete(ctx, a.message, p, cp)
}

// resettable are the statuses that a reset may leave. In any other status the checkpoint must be
// ownerless.
// karbor: manager.py; error-deleting is our addition, since no other way leads out of it.
var resettable = []checkpoint.Status{checkpoint.Available, checkpoint.Error, checkpoint.Copying, checkpoint.WaitCopying,
	checkpoint.Finished, checkpoint.ErrorDeleting}

// resetTo are the statuses that karbor-api's schema allows a user to set. No operation could end
// any other status.
var resetTo = []checkpoint.Status{checkpoint.Available, checkpoint.Error}

// resetState writes a status into a checkpoint and answers null.
func (m *Manager) resetState(ctx context.Context, a *arguments) (any, error) {
	state := checkpoint.Status(a.required("state"))
	p, id, err := m.checkpointArguments(a)
	if err != nil {
		return nil, err
	}
	cp, err := m.accessible(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(resettable, cp.Status()) {
		if ownerless, err := m.operations.Ownerless(ctx, p, cp); err != nil || !ownerless {
			return nil, fault.CheckpointNotBeReset(id).WithCause(err)
		}
	}
	if !slices.Contains(resetTo, state) {
		return nil, fault.InvalidInput(`argument state: want "available" or "error"`)
	}
	err = m.operations.Free(ctx, id)
	if errors.As(err, new(*journal.BusyError)) {
		return nil, fault.CheckpointNotBeReset(id).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	if err = cp.SetStatus(state); err == nil {
		err = cp.Commit(ctx)
	}
	if failure.Overtaken(err) {
		return nil, fault.CheckpointNotBeReset(id).WithCause(err)
	}
	return nil, err
}

// instance is a resource as the protectable methods return it.
type instance struct {
	Type      string          `json:"type,omitempty"`
	ID        string          `json:"id"`
	Name      *string         `json:"name"`
	ExtraInfo json.RawMessage `json:"extra_info"`
}

func instanceOf(r resource.Resource) instance {
	extra := r.ExtraInfo
	if len(extra) == 0 {
		extra = json.RawMessage("null")
	}
	return instance{Type: r.Type, ID: r.ID, Name: r.NameOrNull(), ExtraInfo: extra}
}

// listProtectableTypes answers the types in the order of their plugins.
func (m *Manager) listProtectableTypes(_ context.Context, a *arguments) (any, error) {
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.protectables.Types(), nil
}

// showProtectableType answers {"name", "dependent_types"}.
func (m *Manager) showProtectableType(_ context.Context, a *arguments) (any, error) {
	name := a.required("protectable_type")
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.protectables.Get(name); err != nil {
		return nil, err
	}
	return struct {
		Name           string   `json:"name"`
		DependentTypes []string `json:"dependent_types"`
	}{name, m.protectables.DependentTypes(name)}, nil
}

// listProtectableInstances answers the caller's resources of a type, without the type itself.
// Paging and sorting have no effect, as in the original.
func (m *Manager) listProtectableInstances(ctx context.Context, a *arguments) (any, error) {
	plugin, err := m.protectablePlugin(a)
	if err != nil {
		return nil, err
	}
	a.text("marker")
	a.limit("limit")
	a.texts("sort_keys")
	a.texts("sort_dirs")
	a.object("filters")
	parameters := a.object("parameters")
	if err := a.done(); err != nil {
		return nil, err
	}
	found, err := plugin.List(ctx, protectable.Parameters(parameters))
	if err != nil {
		return nil, err
	}
	instances := m.listings.begin()
	defer instances.done()
	for _, r := range found {
		r.Type = ""
		if err := instances.add(instanceOf(r)); err != nil {
			return nil, err
		}
	}
	return instances.answer(), nil
}

// showProtectableInstance answers one resource, or null if there is none.
func (m *Manager) showProtectableInstance(ctx context.Context, a *arguments) (any, error) {
	plugin, err := m.protectablePlugin(a)
	if err != nil {
		return nil, err
	}
	id := a.required("protectable_id")
	parameters := a.object("parameters")
	if err := a.done(); err != nil {
		return nil, err
	}
	found, err := plugin.Show(ctx, id, protectable.Parameters(parameters))
	if err != nil || found == nil {
		return nil, err
	}
	return instanceOf(*found), nil
}

// listProtectableDependents answers the resources that depend on another one.
func (m *Manager) listProtectableDependents(ctx context.Context, a *arguments) (any, error) {
	parent := resource.Resource{
		Type: a.required("protectable_type"), ID: a.required("protectable_id"), Name: a.text("protectable_name"),
	}
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.protectables.Get(parent.Type); err != nil {
		return nil, err
	}
	found, err := m.protectables.Dependents(ctx, parent)
	if err != nil {
		return nil, err
	}
	instances := m.listings.begin()
	defer instances.done()
	for _, r := range found {
		if err := instances.add(instanceOf(r)); err != nil {
			return nil, err
		}
	}
	return instances.answer(), nil
}

func (m *Manager) protectablePlugin(a *arguments) (protectable.Plugin, error) {
	name := a.required("protectable_type")
	if a.err != nil {
		return nil, a.err
	}
	if name == "" {
		return nil, fault.InvalidInput("argument protectable_type is empty")
	}
	return m.protectables.Get(name)
}

// statedProvider is a provider as version 1.1 shows it.
type statedProvider struct {
	providers.View
	Bank   string `json:"bank"`  // the name of the plugin
	State  string `json:"state"` // up or down: whether the bank answered the last probe
	Reason string `json:"reason"`
}

// view returns a provider as the requested version of the API shows it.
func (m *Manager) view(a *arguments, p *providers.Provider) any {
	if a.original() {
		return rpc.Encoded(p.Encoded())
	}
	stated := statedProvider{View: p.FullView(), Bank: p.BankName, State: "up"}
	if err := m.bankError(p); err != nil {
		stated.State, stated.Reason = "down", fault.Detail(err)
	}
	return stated
}

// listProviders answers a list of providers.View, or of statedProvider in version 1.1, in the order
// of their ids. Sort arguments have no effect, as in the original.
func (m *Manager) listProviders(_ context.Context, a *arguments) (any, error) {
	a.spread("list_options")
	o := providers.ListOptions{Marker: a.text("marker"), Limit: a.limit("limit"), Filters: a.object("filters")}
	a.texts("sort_keys")
	a.texts("sort_dirs")
	if err := a.done(); err != nil {
		return nil, err
	}
	list := m.listings.begin()
	defer list.done()
	for _, p := range m.providers.List(o) {
		if err := list.add(m.view(a, p)); err != nil {
			return nil, err
		}
	}
	return list.answer(), nil
}

// showProvider answers a providers.View, or a statedProvider in version 1.1. It fails with
// ProviderNotFound.
func (m *Manager) showProvider(_ context.Context, a *arguments) (any, error) {
	p, err := m.provider(a)
	if err != nil {
		return nil, err
	}
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.view(a, p), nil
}

// provider finds the provider that the argument provider_id names. Any value that is not the id of
// a provider, including null, gives ProviderNotFound.
func (m *Manager) provider(a *arguments) (*providers.Provider, error) {
	value := a.raw("provider_id")
	var id string
	switch {
	case value == nil:
		return nil, fault.ProviderNotFound("None")
	case json.Unmarshal(value, &id) != nil:
		a.fail("provider_id", "a string", value)
		return nil, a.done()
	}
	return m.providers.Get(id)
}
