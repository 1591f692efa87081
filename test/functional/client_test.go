// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// api stands for karbor-api: it sends what that sends.
type api struct {
	t      testing.TB
	client *rpc.Client
	caller *requestcontext.RequestContext
}

// api connects to the site's topic as a caller.
func (s *site) api(caller *requestcontext.RequestContext) *api {
	s.t.Helper()
	u, err := rpc.ParseTransportURL(os.Getenv("RABBIT_URL"))
	must(s.t, err)
	transport, err := rabbit.New(u, rabbit.DefaultOptions(), nil)
	must(s.t, err)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := transport.Close(ctx); err != nil {
			s.t.Errorf("close the client: %v", err)
		}
	})
	target := rpc.Target{Exchange: s.exchange, Topic: s.topic, Version: "1.0"}
	return &api{t: s.t, client: rpc.NewClient(transport, target, rpc.ClientOptions{}), caller: caller}
}

// as is the same client for another caller.
func (a *api) as(caller *requestcontext.RequestContext) *api {
	return &api{t: a.t, client: a.client, caller: caller}
}

// stranger is a caller of a deployment without Keystone.
func stranger() *requestcontext.RequestContext {
	return &requestcontext.RequestContext{
		UserID: uuid.NewString(), ProjectID: projectID(), ProjectName: "functional", RequestID: "req-" + uuid.NewString(),
	}
}

// projectID makes an id in Keystone's form: 32 hexadecimal digits.
func projectID() string {
	id := uuid.New()
	return hex(id[:])
}

func hex(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// try calls a method and returns its error.
func (a *api) try(method string, args map[string]any, result any) error {
	a.t.Helper()
	members := rpc.Context{}
	for name, value := range a.caller.Encode(time.Now()) {
		text, err := json.Marshal(value)
		must(a.t, err)
		members[name] = text
	}
	return a.client.Call(context.Background(), members, method, args, result)
}

func (a *api) call(method string, args map[string]any, result any) {
	a.t.Helper()
	if err := a.try(method, args, result); err != nil {
		a.t.Fatalf("%s: %v", method, err)
	}
}

// refused calls a method that must fail with an exception of a class, and
// returns it.
func (a *api) refused(class, method string, args map[string]any) *rpc.Failure {
	a.t.Helper()
	err := a.try(method, args, nil)
	var failure *rpc.Failure
	if !errors.As(err, &failure) || failure.Class != class || failure.Module != "karbor.exception" {
		a.t.Fatalf("%s: %v, want karbor.exception %s", method, err, class)
	}
	return failure
}

// object wraps fields as one of karbor's versioned objects.
func object(name string, fields map[string]any) map[string]any {
	for _, field := range []string{"created_at", "updated_at", "deleted_at"} {
		fields[field] = nil
	}
	fields["deleted"] = false
	return map[string]any{
		"karbor_object.name": name, "karbor_object.namespace": "karbor", "karbor_object.version": "1.0",
		"karbor_object.data": fields,
	}
}

// plan is a plan of the caller for some resources.
type plan struct {
	id        string
	provider  string
	resources []resource.Resource
}

func (a *api) plan(provider string, resources ...resource.Resource) plan {
	return plan{id: uuid.NewString(), provider: provider, resources: resources}
}

func (a *api) protectArgs(p plan) map[string]any {
	resources := []map[string]any{}
	for _, r := range p.resources {
		resources = append(resources, map[string]any{"id": r.ID, "type": r.Type, "name": r.Name, "extra_info": nil})
	}
	return map[string]any{
		"plan": object("Plan", map[string]any{
			"id": p.id, "name": "functional", "description": nil, "provider_id": p.provider, "project_id": a.caller.ProjectID,
			"status": "suspended", "resources": resources, "parameters": map[string]any{},
		}),
		"checkpoint_properties": map[string]any{
			"project_id": a.caller.ProjectID, "status": "protecting", "provider_id": p.provider,
			"protection_plan": map[string]any{"id": p.id, "name": "functional", "resources": resources},
			"extra_info":      `{"created_by": "manual"}`,
		},
	}
}

// protect starts a protection and returns the checkpoint's id.
func (a *api) protect(p plan) string {
	a.t.Helper()
	var id string
	a.call("protect", a.protectArgs(p), &id)
	return id
}

// checkpointView is a checkpoint as show_checkpoint and list_checkpoints answer it.
type checkpointView struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	ProjectID string `json:"project_id"`
	CreatedAt string `json:"created_at"`
}

func (a *api) show(p plan, checkpoint string) checkpointView {
	a.t.Helper()
	var view checkpointView
	a.call("show_checkpoint", map[string]any{"provider_id": p.provider, "checkpoint_id": checkpoint}, &view)
	return view
}

// settled waits until nobody works on a checkpoint any more.
func (a *api) settled(p plan, checkpoint string) string {
	a.t.Helper()
	var view checkpointView
	await(a.t, "the end of the work on checkpoint "+checkpoint, func() (bool, any) {
		view = a.show(p, checkpoint)
		return view.Status != "protecting" && view.Status != "deleting", view.Status
	})
	return view.Status
}

// protected protects and waits until the checkpoint is available.
func (a *api) protected(p plan) string {
	a.t.Helper()
	id := a.protect(p)
	if status := a.settled(p, id); status != "available" {
		a.t.Fatalf("checkpoint %s is %s, want available", id, status)
	}
	return id
}

// delete deletes a checkpoint and waits for the end.
func (a *api) delete(p plan, checkpoint string) {
	a.t.Helper()
	a.call("delete", map[string]any{"provider_id": p.provider, "checkpoint_id": checkpoint}, nil)
	if status := a.settled(p, checkpoint); status != "deleted" {
		a.t.Fatalf("checkpoint %s is %s, want deleted", checkpoint, status)
	}
}

// readArgs are the arguments of restore and verification, whose record is in the
// database under id.
func (a *api) readArgs(class, id string, p plan, checkpoint string, parameters map[string]any) map[string]any {
	return object(class, map[string]any{
		"id": id, "project_id": a.caller.ProjectID, "provider_id": p.provider, "checkpoint_id": checkpoint,
		"parameters": parameters, "status": "in_progress", "resources_status": map[string]any{}, "resources_reason": map[string]any{},
	})
}

// providers is the simplest call: it needs neither bank nor database.
func (a *api) providers() int {
	a.t.Helper()
	var list []json.RawMessage
	a.call("list_providers", map[string]any{}, &list)
	return len(list)
}

// something is a resource that needs no cloud to be protected by the noop plugin:
// nothing depends on an image.
func something() resource.Resource {
	return resource.Resource{Type: resource.Image, ID: uuid.NewString(), Name: "something"}
}

// atLeastOnce makes calls fail at once when nobody listens.
func atLeastOnce(o *rpc.ClientOptions) { o.AtLeastOnce = true }
