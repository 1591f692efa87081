// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// RealProject is a project of the real cloud that belongs to one test, with a user of
// its own: what it holds, the test made. When the test ends, everything in it is
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

// NewRealProject makes a project. It skips the test if KARBOR_TEST_KEYSTONE or one of
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

// RealService is the project of the service, as user karbor, in whose account the
// banks are. It belongs to everybody, so nothing in it is removed.
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

// keystone is the administrator's way to make and remove projects and users.
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

// create makes a member of a collection, which the end of the test removes, and
// returns its id.
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
