// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// patience bounds every wait for the cloud. It is long because machines that run
// tests can be slow; the test of a cloud that works never comes near it.
const patience = 30 * time.Minute

const pause = 200 * time.Millisecond

// Make asks for a resource and returns its id without waiting. The body is what
// the kind's API documents, without the outer member:
//
//	p.Make(openstacktest.Volume, map[string]any{"size": 1, "name": "slow-create-5"})
func (p *RealProject) Make(k Kind, body map[string]any) string {
	p.t.Helper()
	var made map[string]any
	must(p.t, p.call(p.ctx, k, "POST", k.path, wrapped(k, body), &made))
	if k.member != "" {
		made, _ = made[k.member].(map[string]any)
	}
	if id, ok := made["id"].(string); ok {
		return id
	}
	name, _ := made["name"].(string)
	return name
}

// Create is Make, and waits until the resource can be used.
func (p *RealProject) Create(k Kind, body map[string]any) string {
	p.t.Helper()
	id := p.Make(k, body)
	if k.ready != "" {
		p.Await(k, id, k.ready)
	}
	return id
}

// Update changes a resource as its API documents for PUT.
func (p *RealProject) Update(k Kind, id string, body map[string]any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, k, "PUT", k.path+"/"+url.PathEscape(id), wrapped(k, body), nil))
}

// Act posts an action to a resource and decodes the answer into answer, unless
// that is nil.
func (p *RealProject) Act(k Kind, id, action string, body, answer any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, k, "POST", k.path+"/"+url.PathEscape(id)+"/action", map[string]any{action: body}, answer))
}

// Delete removes a resource and waits until it is gone.
func (p *RealProject) Delete(k Kind, id string) {
	p.t.Helper()
	must(p.t, p.remove(p.ctx, k, id))
	p.Await(k, id)
}

// Await waits until a resource has one of the statuses, or without any, until it
// is gone. Any status with "error" in it ends the test unless it is waited for.
func (p *RealProject) Await(k Kind, id string, statuses ...string) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for {
		shown, err := p.show(k, id)
		status, _ := shown["status"].(string)
		switch {
		case openstack.IsNotFound(err) && len(statuses) == 0:
			return
		case err != nil:
			p.t.Fatal(err)
		case contains(statuses, status):
			return
		case strings.Contains(strings.ToLower(status), "error"), time.Now().After(end):
			p.t.Fatalf("%s %s is %s, not %s: %v", k.name, id, status, strings.Join(statuses, " or "), shown)
		}
		time.Sleep(pause)
	}
}

// until waits for a condition.
func (p *RealProject) until(satisfied func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !satisfied(); time.Sleep(pause) {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s in vain", patience)
		}
	}
}

func contains(statuses []string, status string) bool {
	for _, s := range statuses {
		if strings.EqualFold(s, status) {
			return true
		}
	}
	return false
}

func wrapped(k Kind, body map[string]any) map[string]any {
	if k.member == "" {
		return body
	}
	return map[string]any{k.member: body}
}

func (p *RealProject) remove(ctx context.Context, k Kind, id string) error {
	return p.call(ctx, k, "DELETE", k.path+"/"+url.PathEscape(id), nil, nil)
}

// call is one request to the service of a kind.
func (p *RealProject) call(ctx context.Context, k Kind, method, path string, body, answer any) error {
	client, err := k.service.client(p.Factory, ctx)
	if err != nil {
		return err
	}
	options := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 204}, KeepResponseBody: answer == nil}
	if body != nil {
		options.JSONBody = body
	}
	if answer != nil {
		options.JSONResponse = answer
	}
	response, err := client.Request(ctx, method, client.ServiceURL(path), options)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer == nil {
		return response.Body.Close()
	}
	return nil
}
