// SPDX-License-Identifier: Apache-2.0

// Package manager is the protection manager: the methods that the service offers over RPC. A method
// reads its arguments, checks access, and calls the providers, their checkpoints, the protectables
// or the operation engine.
// karbor: services/protection/manager.py
package manager

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
)

// Version is the version of the RPC API.
const Version = "1.1"

// Records are the tables of restores and verifications.
type Records interface {
	Get(ctx context.Context, kind database.RecordKind, id string) (*database.Record, error)
}

// Config has the dependencies of a Manager.
type Config struct {
	Providers    *providers.Registry
	Protectables *protectable.Registry
	Operations   *operation.Engine
	Records      Records
	Handlers     Handlers
	Answers      Answers
	// BankError returns the error of the last probe of a provider's bank, or nil. A nil function
	// means that all banks are up.
	BankError func(*providers.Provider) error
	Log       logrus.FieldLogger
}

// Manager handles the calls. It is safe for concurrent use.
type Manager struct {
	providers    *providers.Registry
	protectables *protectable.Registry
	operations   *operation.Engine
	records      Records
	admission    *admission
	listings     *listings
	bankError    func(*providers.Provider) error
	log          logrus.FieldLogger
}

// New returns a manager.
func New(c Config) *Manager {
	if c.BankError == nil {
		c.BankError = func(*providers.Provider) error { return nil }
	}
	return &Manager{
		providers:    c.Providers,
		protectables: c.Protectables,
		operations:   c.Operations,
		records:      c.Records,
		admission:    newAdmission(c.Handlers),
		listings:     newListings(c.Answers),
		bankError:    c.BankError,
		log:          telemetry.Named(c.Log, "manager"),
	}
}

// method is one method of the API. It reads the arguments from a and returns the result to send.
type method func(ctx context.Context, a *arguments) (any, error)

// Endpoints returns the endpoints for an RPC server. The null namespace has version 1.1, which
// includes 1.0, the version that karbor-api calls, and adds running operations and remarks. There
// is also the namespace of records.
func (m *Manager) Endpoints() []rpc.Endpoint {
	const read, work = rpc.AtMostOnce, rpc.UntilAccepted
	api := rpc.Endpoint{Version: Version, Methods: map[string]rpc.Method{}}
	add := func(name string, delivery rpc.Delivery, call method) {
		if delivery == work {
			call = m.once(call)
		}
		api.Methods[name] = rpc.Method{Delivery: delivery, Handler: m.handler(call, delivery)}
	}
	add("list_providers", read, m.listProviders)
	add("show_provider", read, m.showProvider)
	add("list_checkpoints", read, m.listCheckpoints)
	add("show_checkpoint", read, m.showCheckpoint)
	add("list_protectable_types", read, m.listProtectableTypes)
	add("show_protectable_type", read, m.showProtectableType)
	add("list_protectable_instances", read, m.listProtectableInstances)
	add("show_protectable_instance", read, m.showProtectableInstance)
	add("list_protectable_dependents", read, m.listProtectableDependents)
	add("protect", work, m.protect)
	add("copy", work, m.copy)
	add("restore", work, m.restore)
	add("verification", work, m.verification)
	add("delete", work, m.delete)
	add("reset_state", work, m.resetState)

	// Version 1.1.
	add("list_operations", read, m.listOperations)
	add("show_operation", read, m.showOperation)
	add("cancel_operation", read, m.cancelOperation)
	add("list_workers", read, m.listWorkers)

	// The calls of the system's original specification.
	add("execute_operation", work, m.executeOperation)
	add("delete_checkpoint", work, m.delete)

	records := rpc.Endpoint{Namespace: RecordNamespace, Version: Version, Methods: map[string]rpc.Method{
		"show_restore":      {Delivery: read, Handler: m.handler(m.showRestore, read)},
		"show_verification": {Delivery: read, Handler: m.handler(m.showVerification, read)},
	}}
	return []rpc.Endpoint{api, records}
}

// projectFor returns the project of a plan or a record: the one that it names, or else the
// caller's. Only an administrator may work for another project than that of the request. karbor-api
// checks this, but nothing checks callers that send on the bus directly.
func projectFor(ctx context.Context, named string) (string, error) {
	caller := requestcontext.From(ctx)
	project := cmp.Or(named, caller.ProjectID)
	switch {
	case project == "":
		return "", fault.InvalidInput("the request is of no project")
	case !caller.CanAccess(project):
		return "", fault.InvalidInput("project_id " + project + " is not the project of the request")
	}
	return project, nil
}

// handler gives a method its request context, and converts every error that it returns to one of
// the catalogue, since karbor-api cannot show any other to its users.
func (m *Manager) handler(call method, delivery rpc.Delivery) rpc.Handler {
	return func(ctx context.Context, req *rpc.Request) (any, error) {
		caller, err := requestcontext.Decode(req.Context)
		if err != nil {
			return nil, fault.InvalidInput(err.Error())
		}
		ctx = requestcontext.New(ctx, caller)
		waiting, waited := untilAbandoned(ctx, req)
		leave, err := m.admission.enter(waiting, share{caller.ProjectID, delivery == rpc.UntilAccepted})
		waited()
		if err != nil {
			return nil, m.report(ctx, req.Method, fault.InvalidInput("The request was not started: "+err.Error()+"; ask again later"))
		}
		defer leave()
		a := newArguments(req.Args, operation.Message{Key: req.UniqueID, Accepted: req.Accept, Reasons: req.Version == Version})
		a.version = req.Version
		result, err := call(ctx, a)
		if err == nil {
			return result, nil
		}
		return nil, m.report(ctx, req.Method, err)
	}
}

// once answers a redelivered message as it was answered the first time, perhaps by another worker,
// and starts nothing.
func (m *Manager) once(call method) method {
	return func(ctx context.Context, a *arguments) (any, error) {
		answer, known, err := m.operations.Answered(ctx, a.message)
		if known || err != nil {
			return rpc.Encoded(answer), err
		}
		return call(ctx, a)
	}
}

// report logs, once, why a call failed, including details that the caller must not see.
func (m *Manager) report(ctx context.Context, name string, err error) error {
	log := telemetry.WithRequest(m.log, requestcontext.From(ctx)).WithField("method", name)
	var known *fault.Error
	if errors.As(err, &known) && known.UserMistake() {
		log.Infof("refused: %s", fault.Detail(err))
		return known
	}
	log.Errorf("failed: %s", fault.Detail(err))
	return fault.From(err)
}

// Failure converts an error that did not come from a method, such as a panic, to a KarborException,
// since karbor-api cannot show builtin Python exceptions to its users.
func Failure(context.Context, *rpc.Request, error) *rpc.Failure {
	e := fault.KarborException("")
	return &rpc.Failure{Module: e.Module(), Class: e.Class(), Message: e.Message(), Args: e.Args(), Kwargs: e.Kwargs()}
}

// executeOperation is the call of the system's original specification: a backup plan and the
// operation to run on it. It serves callers without karbor-api, and therefore creates the records
// that karbor-api would have created.
//
//	protect   answers the id of the new checkpoint
//	restore   answers the id of the new restore, with dry_run operation.Foretold
//	verify    answers the id of the new verification
//	copy      answers pairs of checkpoints
//	delete    answers null
//
// restore, verify and delete work on the checkpoint that the plan's member checkpoint_id names.
// Without it, restore and verify take the plan's newest available checkpoint.
func (m *Manager) executeOperation(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("backup_plan")
	action, dryRun := strings.ToLower(a.required("action")), a.dryRun()
	if err := a.done(); err != nil {
		return nil, err
	}
	if dryRun && action != "restore" {
		return nil, fault.InvalidInput("argument dry_run is for a restore")
	}
	fields, err := decodeObject(value, "Plan")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if len(fields) == 0 {
		return nil, fault.InvalidPlan("the backup plan is missing")
	}
	switch action {
	case "protect", "copy":
		plan, err := planOf(fields, m.operations.MaxResources)
		if err != nil {
			return nil, fault.InvalidPlan(err.Error())
		}
		if action == "copy" {
			return m.copyPlan(ctx, a.message, plan)
		}
		return m.protectPlan(ctx, a.message, plan, map[string]json.RawMessage{"extra_info": fields["extra_info"]})
	case "restore":
		return m.executeReading(ctx, a.message, fields, protection.Restore, dryRun)
	case "verify":
		return m.executeReading(ctx, a.message, fields, protection.Verify, false)
	case "delete":
		return m.delete(ctx, newArguments(map[string]json.RawMessage{
			"provider_id": fields["provider_id"], "checkpoint_id": fields["checkpoint_id"]}, a.message))
	}
	return nil, fault.InvalidInput("argument action: want protect, restore, verify, copy or delete")
}

// executeReading starts a restore or verification that creates its record itself, and answers the
// record's id.
func (m *Manager) executeReading(ctx context.Context, message operation.Message, fields map[string]json.RawMessage, kind protection.Kind, dryRun bool) (any, error) {
	planID, err := textField(fields, "id")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	fields = maps.Clone(fields)
	if isNull(fields["checkpoint_id"]) {
		if fields["checkpoint_id"], err = m.newestCheckpoint(ctx, fields, planID); err != nil {
			return nil, err
		}
	}
	id := uuid.NewString()
	fields["id"] = json.RawMessage(`"` + id + `"`)
	r, err := readingOf(fields)
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if r.ProjectID, err = projectFor(ctx, r.ProjectID); err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, kind)
	if err != nil {
		return nil, err
	}
	if dryRun {
		return m.operations.Foretell(ctx, p, cp, r.Parameters)
	}
	r.New = &database.Record{ID: id, ProjectID: r.ProjectID, ProviderID: r.providerID, CheckpointID: r.checkpointID,
		Status: "in_progress", Parameters: fields["parameters"]}
	start := m.operations.Restore
	if kind == protection.Verify {
		start = m.operations.Verify
	}
	return id, start(ctx, message, p, cp, r.Record)
}

// newestCheckpoint returns the id, as JSON, of the plan's newest available checkpoint.
func (m *Manager) newestCheckpoint(ctx context.Context, fields map[string]json.RawMessage, planID string) (json.RawMessage, error) {
	providerID, err := textField(fields, "provider_id")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if planID == "" {
		return nil, fault.InvalidPlan("it names neither a checkpoint_id nor the id of a plan")
	}
	p, err := m.providers.Get(providerID)
	if err != nil {
		return nil, err
	}
	found, err := m.checkpointsOf(ctx, p, planID, func(cp *checkpoint.Checkpoint) bool {
		return cp.Status() == checkpoint.Available
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.InvalidPlan("the plan has no available checkpoint")
	}
	return json.RawMessage(`"` + found[len(found)-1].ID() + `"`), nil
}

// protect starts to protect a plan's resources and answers the id of the new checkpoint.
func (m *Manager) protect(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("plan")
	properties := a.object("checkpoint_properties")
	if err := a.done(); err != nil {
		return nil, err
	}
	plan, err := decodePlan(value, "the protection plan is None", m.operations.MaxResources)
	if err != nil {
		return nil, err
	}
	return m.protectPlan(ctx, a.message, plan, properties)
}

func (m *Manager) protectPlan(ctx context.Context, message operation.Message, plan operation.Plan, properties map[string]json.RawMessage) (any, error) {
	p, err := m.providers.Get(plan.ProviderID)
	if err != nil {
		return nil, err
	}
	if err := checkOptions(p, plan.Parameters); err != nil {
		return nil, err
	}
	if plan.ProjectID, err = projectFor(ctx, plan.ProjectID); err != nil {
		return nil, err
	}
	extraInfo, err := checkpointProperties(properties)
	if err != nil {
		return nil, err
	}
	id, err := m.operations.Protect(ctx, message, p, plan, extraInfo)
	if err != nil {
		return nil, err
	}
	return id, nil
}

// checkpointProperties returns the only property with an effect: extra_info, a JSON object in a
// string. The other properties repeat the plan, or must equal the values of a new checkpoint.
func checkpointProperties(properties map[string]json.RawMessage) (json.RawMessage, error) {
	status, err := textField(properties, "status")
	if err != nil {
		return nil, fault.InvalidInput("checkpoint_properties: " + err.Error())
	}
	if status != "" && checkpoint.Status(status) != checkpoint.Protecting {
		return nil, fault.InvalidInput(`checkpoint_properties: status: want "protecting"`)
	}
	extra := properties["extra_info"]
	if isNull(extra) {
		return nil, nil
	}
	var text string
	var info map[string]json.RawMessage
	if err := pyjson.CheckReadable(extra, pyjson.MaxDepth); err != nil {
		return nil, fault.InvalidInput("checkpoint_properties: extra_info: " + err.Error())
	}
	if json.Unmarshal(extra, &text) != nil || json.Unmarshal([]byte(text), &info) != nil {
		return nil, fault.InvalidInput("checkpoint_properties: extra_info: want a string with a JSON object in it")
	}
	return extra, nil
}

// copy starts to copy the available checkpoints of a plan and answers a list of operation.Pair.
func (m *Manager) copy(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("plan")
	if err := a.done(); err != nil {
		return nil, err
	}
	plan, err := decodePlan(value, "The protection plan is None", m.operations.MaxResources)
	if err != nil {
		return nil, err
	}
	return m.copyPlan(ctx, a.message, plan)
}

func (m *Manager) copyPlan(ctx context.Context, message operation.Message, plan operation.Plan) (any, error) {
	p, err := m.providers.Get(plan.ProviderID)
	if err != nil {
		return nil, err
	}
	if plan.ProjectID, err = projectFor(ctx, plan.ProjectID); err != nil {
		return nil, err
	}
	sources, err := m.checkpointsOf(ctx, p, plan.ID, operation.Copyable)
	if err != nil {
		return nil, fault.FlowError("copy", "Failed to get checkpoints").WithCause(err)
	}
	pairs, err := m.operations.Copy(ctx, message, p, plan, sources)
	if err != nil {
		return nil, err
	}
	return pairs, nil
}

// checkpointsOf returns the caller's checkpoints of a plan that are wanted, oldest first.
func (m *Manager) checkpointsOf(ctx context.Context, p *providers.Provider, planID string,
	want func(*checkpoint.Checkpoint) bool) ([]*checkpoint.Checkpoint, error) {
	var wanted []*checkpoint.Checkpoint
	err := p.Checkpoints.Each(ctx, checkpoint.ListOptions{
		ProjectID: requestcontext.From(ctx).ProjectID, PlanID: planID}, func(cp *checkpoint.Checkpoint) error {
		if requestcontext.From(ctx).CanAccess(cp.ProjectID()) && want(cp) {
			wanted = append(wanted, cp)
		}
		return nil
	})
	return wanted, err
}

// reading is the common part of a restore and a verification: the record in the database, and the
// checkpoint to read.
type reading struct {
	operation.Record
	providerID   string
	checkpointID string
}

// restore starts to restore a checkpoint and answers null. With dry_run, from version 1.1 on, it
// starts nothing and answers operation.Foretold. restore_auth, which may hold a password, is
// accepted and ignored, as in the original.
func (m *Manager) restore(ctx context.Context, a *arguments) (any, error) {
	value, dryRun := a.raw("restore"), a.dryRun()
	a.object("restore_auth")
	if err := a.done(); err != nil {
		return nil, err
	}
	r, err := decodeReading(value, "Restore")
	if err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, protection.Restore)
	if dryRun && err == nil {
		return m.operations.Foretell(ctx, p, cp, r.Parameters)
	}
	if err == nil {
		err = m.checkRecord(ctx, database.Restores, &r)
	}
	if err != nil {
		return nil, err
	}
	return nil, m.operations.Restore(ctx, a.message, p, cp, r.Record)
}

// verification starts to verify a checkpoint and answers null.
func (m *Manager) verification(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("verification")
	if err := a.done(); err != nil {
		return nil, err
	}
	r, err := decodeReading(value, "Verification")
	if err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, protection.Verify)
	if err == nil {
		err = m.checkRecord(ctx, database.Verifications, &r)
	}
	if err != nil {
		return nil, err
	}
	return nil, m.operations.Verify(ctx, a.message, p, cp, r.Record)
}

// prepareReading makes the checks in the order of the original: provider, parameters, checkpoint,
// access, status.
func (m *Manager) prepareReading(ctx context.Context, r reading, kind protection.Kind) (*providers.Provider, *checkpoint.Checkpoint, error) {
	p, err := m.providers.Get(r.providerID)
	if err != nil {
		return nil, nil, err
	}
	if err := checkParameters(p, kind, r.Parameters); err != nil {
		return nil, nil, err
	}
	cp, err := m.readable(ctx, p, r.checkpointID)
	return p, cp, err
}

// decodeReading reads a Restore or Verification object.
// karbor: objects/restore.py, objects/verification.py
func decodeReading(value json.RawMessage, name string) (reading, error) {
	fields, err := decodeObject(value, name)
	if err != nil {
		return reading{}, fault.InvalidInput(err.Error())
	}
	r, err := readingOf(fields)
	if err != nil {
		return reading{}, fault.InvalidInput(fmt.Sprintf("%s: %v", name, err))
	}
	return r, nil
}

func readingOf(fields map[string]json.RawMessage) (reading, error) {
	var r reading
	if len(fields) == 0 {
		return r, errors.New("it is missing")
	}
	for _, f := range []struct {
		name     string
		field    *string
		required bool
	}{
		{"id", &r.ID, true}, {"project_id", &r.ProjectID, false},
		{"provider_id", &r.providerID, true}, {"checkpoint_id", &r.checkpointID, true},
	} {
		var err error
		if *f.field, err = textField(fields, f.name); err != nil {
			return r, err
		}
		if f.required && *f.field == "" {
			return r, fmt.Errorf("%s is missing", f.name)
		}
	}
	var err error
	r.Parameters, err = parametersOf(fields["parameters"])
	return r, err
}

// checkRecord refuses a record of another project or checkpoint, according to the request and to
// the record's row, since the operation would write into it. A missing record, which no operation
// could complete, gets the same answer.
func (m *Manager) checkRecord(ctx context.Context, kind database.RecordKind, r *reading) error {
	var err error
	if r.ProjectID, err = projectFor(ctx, r.ProjectID); err != nil {
		return err
	}
	row, err := m.records.Get(ctx, kind, r.ID)
	missing := fault.Is(err, "RestoreNotFound") || fault.Is(err, "VerificationNotFound")
	switch {
	case err != nil && !missing:
		return err
	case missing, row.ProjectID != r.ProjectID, row.CheckpointID != r.checkpointID:
		return fault.InvalidInput("the id " + r.ID + " is that of no record of this project and checkpoint").WithCause(err)
	}
	return nil
}

// RecordNamespace is the RPC namespace of the methods that return the records of restores and
// verifications to callers without karbor-api.
const RecordNamespace = "records"

// record is a restore or verification as these methods return it.
type record struct {
	ID              string            `json:"id"`
	ProjectID       string            `json:"project_id"`
	ProviderID      string            `json:"provider_id"`
	CheckpointID    string            `json:"checkpoint_id"`
	Status          string            `json:"status"`
	Parameters      json.RawMessage   `json:"parameters,omitempty"`
	ResourcesStatus map[string]string `json:"resources_status"`
	ResourcesReason map[string]string `json:"resources_reason"`
}

// showRestore answers the record of a restore, or RestoreNotFound.
func (m *Manager) showRestore(ctx context.Context, a *arguments) (any, error) {
	id := a.required("restore_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.showRecord(ctx, database.Restores, id)
}

// showVerification answers the record of a verification, or VerificationNotFound.
func (m *Manager) showVerification(ctx context.Context, a *arguments) (any, error) {
	id := a.required("verification_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.showRecord(ctx, database.Verifications, id)
}

// showRecord hides the records of other projects by reporting them as not found.
func (m *Manager) showRecord(ctx context.Context, kind database.RecordKind, id string) (any, error) {
	r, err := m.records.Get(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(r.ProjectID) {
		return nil, kind.NotFound(id)
	}
	return record{ID: r.ID, ProjectID: r.ProjectID, ProviderID: r.ProviderID, CheckpointID: r.CheckpointID, Status: r.Status,
		Parameters: r.Parameters, ResourcesStatus: r.ResourcesStatus, ResourcesReason: r.ResourcesReason}, nil
}

// maxOperations bounds one listing. operationsPage bounds the operations held in memory at a time,
// since a reason may be long.
const (
	maxOperations  = 1000
	operationsPage = 100
)

// listOperations answers a list of operation.View, newest first, of the caller's project, or of all
// projects if an administrator asks for them. An empty filter matches nothing.
func (m *Manager) listOperations(ctx context.Context, a *arguments) (any, error) {
	none := false
	filter := func(name string) string {
		text := a.text(name)
		none = none || text == "" && a.raw(name) != nil
		return text
	}
	f := journal.Filter{
		ProviderID:   filter("provider_id"),
		CheckpointID: filter("checkpoint_id"),
		Kind:         filter("operation_type"),
		Unfinished:   a.boolean("unfinished"),
		Marker:       a.text("marker"),
		Limit:        a.limit("limit"),
	}
	all := a.boolean("all_tenants")
	if err := a.done(); err != nil {
		return nil, err
	}
	if none {
		return rpc.Encoded("[]"), nil
	}
	if f.Limit <= 0 || f.Limit > maxOperations {
		f.Limit = maxOperations
	}
	caller := requestcontext.From(ctx)
	if !all || !caller.IsAdmin {
		f.ProjectID = caller.ProjectID
		if f.ProjectID == "" { // for the journal, an empty id selects all projects
			return rpc.Encoded("[]"), nil
		}
	}
	list, left := m.listings.begin(), f.Limit
	defer list.done()
	for left > 0 {
		f.Limit = min(left, operationsPage)
		page, err := m.operations.Operations(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, view := range page {
			if err := list.add(view); err != nil {
				return nil, err
			}
			f.Marker = view.ID
		}
		if left -= len(page); len(page) < f.Limit {
			break
		}
	}
	return list.answer(), nil
}

// showOperation answers an operation.Detail.
func (m *Manager) showOperation(ctx context.Context, a *arguments) (any, error) {
	id := a.required("operation_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.accessibleOperation(ctx, id)
}

// cancelOperation requests the cancellation of an operation and answers null without waiting for
// it.
func (m *Manager) cancelOperation(ctx context.Context, a *arguments) (any, error) {
	id := a.required("operation_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.accessibleOperation(ctx, id); err != nil {
		return nil, err
	}
	return nil, m.operations.Cancel(ctx, id, callerName(requestcontext.From(ctx)))
}

// listWorkers answers a list of operation.Worker. Only administrators may call it, since tenants
// must not learn about workers.
func (m *Manager) listWorkers(ctx context.Context, a *arguments) (any, error) {
	if err := a.done(); err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).IsAdmin {
		return nil, fault.NotAuthorized()
	}
	return m.operations.Workers(ctx)
}

// accessibleOperation hides the operations of other projects by reporting them as not found.
func (m *Manager) accessibleOperation(ctx context.Context, id string) (*operation.Detail, error) {
	d, err := m.operations.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(d.ProjectID) {
		return nil, operation.NotFound(id)
	}
	return d, nil
}

// callerName returns the name of a caller for the text of a reason.
func callerName(c *requestcontext.RequestContext) string {
	if c.UserID != "" {
		return "user " + c.UserID
	}
	return "request " + c.RequestID
}
