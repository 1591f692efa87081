// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// RealProject is a project of the real cloud for one test, with a user of its own, so
// everything in it was made by the test. When the test ends, everything in it is
// removed, and then the project.
//
// Its methods end the test when the cloud refuses something.
type RealProject struct {
	*openstack.Factory
	Caller *requestcontext.RequestContext

	t     testing.TB
	ctx   context.Context // carries Caller and outlives the test's, for cleaning up
	admin context.Context // the same with an administrator of the project
}

// NewRealProject creates a project. It skips the test if KARBOR_TEST_KEYSTONE or one of
// need, variables such as KARBOR_TEST_CINDER, is not set.
func NewRealProject(t testing.TB, need ...string) *RealProject {
	t.Helper()
	skipWithout(t, need...)
	p := &RealProject{Factory: realFactory(t), t: t}
	name := "test-" + uuid.NewString()
	k := newKeystone(t)
	project := k.create("projects", "project", map[string]any{"name": name})
	user := k.create("users", "user", map[string]any{"name": name, "password": "password"})
	k.grant(project, user, "member")
	k.grant(project, k.userID, "admin")
	outlives := context.WithoutCancel(t.Context())
	p.Caller = login(t, name, name)
	p.ctx = requestcontext.New(outlives, p.Caller)
	p.admin = requestcontext.New(outlives, login(t, "admin", name))
	t.Cleanup(p.purge)
	return p
}

// RealService returns the project of the service, as user karbor, whose account holds
// the banks. All tests share it, so nothing in it is removed.
func RealService(t testing.TB) *RealProject {
	t.Helper()
	skipWithout(t)
	p := &RealProject{Factory: realFactory(t), Caller: login(t, "karbor", "service"), t: t}
	p.ctx = requestcontext.New(context.WithoutCancel(t.Context()), p.Caller)
	return p
}

// Context returns the test's context with the caller.
func (p *RealProject) Context() context.Context { return requestcontext.New(p.t.Context(), p.Caller) }

// ID returns the project's id.
func (p *RealProject) ID() string { return p.Caller.ProjectID }

// keystone is the administrator's client for creating and removing projects and users.
type keystone struct {
	t      testing.TB
	ctx    context.Context
	client *gophercloud.ServiceClient
	userID string
}

func newKeystone(t testing.TB) keystone {
	t.Helper()
	caller := login(t, "admin", "admin")
	return keystone{
		t: t, ctx: context.WithoutCancel(t.Context()), userID: caller.UserID,
		client: plainClient(t, os.Getenv("KARBOR_TEST_KEYSTONE"), caller.AuthToken),
	}
}

// create adds a member to a collection and returns the member's id. The member is
// removed when the test ends.
func (k keystone) create(collection, member string, body map[string]any) string {
	k.t.Helper()
	var made map[string]struct{ ID string }
	_, err := k.client.Post(k.ctx, k.client.ServiceURL(collection), map[string]any{member: body}, &made, nil)
	must(k.t, err)
	id := made[member].ID
	k.t.Cleanup(func() {
		_, err := k.client.Delete(k.ctx, k.client.ServiceURL(collection, id), nil)
		must(k.t, err)
	})
	return id
}

func (k keystone) grant(project, user, role string) {
	k.t.Helper()
	roles, err := openstack.List[struct{ ID, Name string }](k.ctx, k.client, "roles", "roles", nil)
	must(k.t, err)
	for _, r := range roles {
		if strings.EqualFold(r.Name, role) {
			_, err := k.client.Put(k.ctx, k.client.ServiceURL("projects", project, "users", user, "roles", r.ID), nil, nil,
				&gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}})
			must(k.t, err)
			return
		}
	}
	k.t.Fatalf("Keystone has no role %s", role)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// BriefCaller logs the project's user in once more, with a short-lived token, and
// returns a function that waits until the token has expired for every service, even one
// that has cached its validation. It needs KARBOR_TEST_BRIEF_LOGIN.
func (p *RealProject) BriefCaller(life time.Duration) (caller *requestcontext.RequestContext, end func()) {
	p.t.Helper()
	skipWithout(p.t, "KARBOR_TEST_BRIEF_LOGIN")
	words := append(strings.Fields(os.Getenv("KARBOR_TEST_BRIEF_LOGIN")), p.Caller.ProjectName, p.Caller.ProjectName, strconv.Itoa(int(life.Seconds())))
	command := exec.CommandContext(p.t.Context(), words[0], words[1:]...)
	var complaint strings.Builder
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		p.t.Fatalf("%v: %s", err, complaint.String())
	}
	var answer struct {
		Token string
		Body  any
	}
	must(p.t, json.Unmarshal(output, &answer))
	var result tokens.CreateResult
	result.Body, result.Header = answer.Body, http.Header{"X-Subject-Token": {answer.Token}}
	token, err := result.ExtractToken()
	must(p.t, err)
	return callerOf(p.t, result), func() {
		time.Sleep(time.Until(token.ExpiresAt.Add(time.Second)))
	}
}

// Alone returns a factory whose calls carry the caller's token but no service token.
func (p *RealProject) Alone() *openstack.Factory {
	f := openstack.New(openstack.Config{AuthURI: os.Getenv("KARBOR_TEST_KEYSTONE")}, nil)
	p.t.Cleanup(f.Close)
	return f
}

// Through is a transport made of a function.
type Through func(req *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f Through) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// stuck is the number of rounds for which a resource may withstand its removal before
// the administrator sets it to an error status, which makes it removable. From a status
// such as error_deleting nobody else can remove it.
const stuck = 100

// purge removes everything.
func (p *RealProject) purge() {
	for _, name := range p.containers() {
		p.RemoveContainer(name)
	}
	if p.RemoveAll() {
		p.discardDefaultGroup()
	}
}

// RemoveAll removes the project's resources in Nova, Neutron, Cinder, Manila and
// Glance, except for some kinds. It works in rounds, because a resource can be removed
// only after its users, and services take their own time. It reports whether everything
// was removed; otherwise the test has failed.
func (p *RealProject) RemoveAll(but ...Kind) bool {
	p.t.Helper()
	end := time.Now().Add(patience)
	for round := 1; ; round++ {
		left, err := p.held()
		if err != nil {
			p.t.Errorf("list what is left of project %s: %v", p.ID(), err)
			return false
		}
		left = slices.DeleteFunc(left, func(h held) bool {
			return slices.ContainsFunc(but, func(k Kind) bool { return k.name == h.kind.name })
		})
		if len(left) == 0 {
			return true
		}
		if time.Now().After(end) {
			p.t.Errorf("project %s still holds %v", p.ID(), left)
			return false
		}
		for _, h := range left {
			p.discard(h, round)
		}
		time.Sleep(pause)
	}
}

// discard does what is possible now to remove a resource. Refusals are normal: the next
// round tries again.
func (p *RealProject) discard(h held, round int) {
	at := h.kind.path + "/" + h.ID
	if h.kind.unblock != nil && round == 1 {
		_ = p.call(p.ctx, h.kind, "PUT", at, wrapped(h.kind, h.kind.unblock), nil)
	}
	if h.kind.reset != "" && (round%stuck == 0 || strings.HasPrefix(h.Status, "error_")) {
		key := "status"
		if h.kind.name == Server.name {
			key = "state"
		}
		_ = p.call(p.admin, h.kind, "POST", at+"/action", map[string]any{h.kind.reset: map[string]any{key: "error"}}, nil)
	}
	switch {
	case strings.HasPrefix(strings.ToLower(h.Status), "deleting"):
		return // asked already
	case h.kind.name == Port.name && h.DeviceOwner == "network:router_interface":
		_ = p.call(p.ctx, Router, "PUT", "routers/"+h.DeviceID+"/remove_router_interface", map[string]any{"port_id": h.ID}, nil)
	default:
		_ = p.remove(p.ctx, h.kind, h.ID)
	}
}

// Rescue does an administrator's work after the death of a daemon: hanging resources
// are set to an error status, except for the one to keep, which is made usable.
func (p *RealProject) Rescue(keep string) {
	p.t.Helper()
	all, err := p.held()
	must(p.t, err)
	for _, h := range all {
		if h.kind.reset == "" || !strings.Contains(h.Status, "ing") {
			continue
		}
		key, status := "status", "error"
		if h.kind.name == Server.name {
			key = "state"
		}
		if h.ID == keep {
			status = h.kind.ready
		}
		must(p.t, p.call(p.admin, h.kind, "POST", h.kind.path+"/"+h.ID+"/action", map[string]any{h.kind.reset: map[string]any{key: status}}, nil))
	}
}

// discardDefaultGroup removes the security group that Neutron created by itself, which
// only an administrator can do.
func (p *RealProject) discardDefaultGroup() {
	client, err := SecurityGroup.service.client(p.Factory, p.admin)
	if err != nil {
		return // no Neutron in the catalogue
	}
	groups, err := p.listKind(p.admin, SecurityGroup)
	if err != nil {
		p.t.Errorf("list security groups: %v", err)
		return
	}
	for _, g := range groups {
		if _, err := client.Delete(p.admin, client.ServiceURL(SecurityGroup.path, g.ID), nil); err != nil {
			p.t.Errorf("remove the default security group: %v", err)
		}
	}
}
