// SPDX-License-Identifier: Apache-2.0

// Package manager is the protection manager: the methods that the service
// offers over RPC. A method reads its arguments, checks access, and hands over
// to the providers, their checkpoints, the protectables or the operation engine.
// karbor: services/protection/manager.py
package manager

import (
	"cmp"
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/rpc"
)

// Version is the version of the RPC API.
const Version = "1.1"

// Records are the rows of restores and verifications.
type Records interface {
	Get(ctx context.Context, kind database.RecordKind, id string) (*database.Record, error)
}

// Config says what a Manager works with.
type Config struct {
	Providers    *providers.Registry
	Protectables *protectable.Registry
	Operations   *operation.Engine
	Records      Records
	Handlers     Handlers
	Answers      Answers
	// BankError returns why the bank of a provider did not answer when it was asked last;
	// nil asks nobody.
	BankError func(*providers.Provider) error
	Log       logrus.FieldLogger
}

// Manager answers the calls. It is safe for concurrent use.
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

// New makes a manager.
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

// method is one method of the API: it takes the arguments out of a and returns
// what is to be sent as the result.
type method func(ctx context.Context, a *arguments) (any, error)

// Endpoints returns what an RPC server is to serve: version 1.1 in the null
// namespace, which is 1.0, what karbor-api calls, and what is known of running
// operations and remarks; and the namespace of records.
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

	// The calls of the system's first description.
	add("execute_operation", work, m.executeOperation)
	add("delete_checkpoint", work, m.delete)

	records := rpc.Endpoint{Namespace: RecordNamespace, Version: Version, Methods: map[string]rpc.Method{
		"show_restore":      {Delivery: read, Handler: m.handler(m.showRestore, read)},
		"show_verification": {Delivery: read, Handler: m.handler(m.showVerification, read)},
	}}
	return []rpc.Endpoint{api, records}
}

// projectFor returns the project that a plan or a record is of: the one that it names,
// else the caller's. Only an administrator works for another project than that of the
// request: what karbor-api has checked, nobody has on the bus.
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

// handler gives a method its request context, and makes every error that leaves
// it one of the catalogue: karbor-api can show no other to its users.
func (m *Manager) handler(call method, delivery rpc.Delivery) rpc.Handler {
	return func(ctx context.Context, req *rpc.Request) (any, error) {
		caller, err := requestcontext.Decode(req.Context)
		if err != nil {
			return nil, fault.InvalidInput(err.Error())
		}
		ctx = requestcontext.New(ctx, caller)
		leave, err := m.admission.enter(share{caller.ProjectID, delivery == rpc.UntilAccepted})
		if err != nil {
			return nil, m.report(ctx, req.Method, fault.InvalidInput(err.Error()+": ask again later"))
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

// once answers a message that comes again as it was answered the first time, be
// it by another worker, and starts nothing.
func (m *Manager) once(call method) method {
	return func(ctx context.Context, a *arguments) (any, error) {
		answer, known, err := m.operations.Answered(ctx, a.message)
		if known || err != nil {
			return rpc.Encoded(answer), err
		}
		return call(ctx, a)
	}
}

// report logs why a call failed, once, with what the caller is not to see.
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

// Failure is what a caller sees of an error that did not come out of a method,
// such as a panic: a KarborException. karbor-api can show no builtin of
// Python's to its users.
func Failure(context.Context, *rpc.Request, error) *rpc.Failure {
	e := fault.KarborException("")
	return &rpc.Failure{Module: e.Module(), Class: e.Class(), Message: e.Message(), Args: e.Args(), Kwargs: e.Kwargs()}
}
