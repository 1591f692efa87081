// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
)

// password is the password of every account of the test services.
const password = "password"

// user is somebody who has logged in to the cloud.
type user struct {
	t      testing.TB
	caller *requestcontext.RequestContext
	ctx    context.Context // carries caller; outlives the test's own, for cleaning up
	glance *gophercloud.ServiceClient
}

// demo logs in as user demo. Every call gets a token of its own.
func demo(t testing.TB) *user {
	t.Helper()
	factory, ctx := openstacktest.Real(t, "KARBOR_TEST_GLANCE")
	ctx = context.WithoutCancel(ctx)
	client, err := factory.Image(ctx)
	must(t, err)
	return &user{t: t, caller: requestcontext.From(ctx), ctx: ctx, glance: client}
}

// picture is what the tests compare of an image.
type picture struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Status    string  `json:"status"`
	Size      int64   `json:"size"`
	Checksum  *string `json:"checksum"`
	HashValue *string `json:"os_hash_value"`
}

// upload makes an image of size bytes of noise, which lives as long as the test.
func (u *user) upload(size int64) resource.Resource {
	u.t.Helper()
	seed := [32]byte{}
	copy(seed[:], uuid.NewString())
	return u.uploadData(io.LimitReader(rand.NewChaCha8(seed), size))
}

func (u *user) uploadData(data io.Reader) resource.Resource {
	u.t.Helper()
	id := uuid.NewString()
	u.do(http.MethodPost, "images", map[string]any{"id": id, "name": "functional", "disk_format": "raw", "container_format": "bare"}, 201)
	u.t.Cleanup(func() { u.removeImage(id) })
	_, err := u.glance.Put(u.ctx, u.glance.ServiceURL("images", id, "file"), data, nil, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"}, OkCodes: []int{204},
	})
	must(u.t, err)
	return resource.Resource{Type: resource.Image, ID: id, Name: "functional"}
}

func (u *user) do(method, path string, body any, okCodes ...int) {
	u.t.Helper()
	options := &gophercloud.RequestOpts{OkCodes: okCodes}
	if body != nil {
		options.JSONBody = body
	}
	_, err := u.glance.Request(u.ctx, method, u.glance.ServiceURL(strings.Split(path, "/")...), options)
	must(u.t, err)
}

func (u *user) removeImage(id string) {
	u.t.Helper()
	u.do(http.MethodDelete, "images/"+id, nil, 204, 404)
}

func (u *user) image(id string) picture {
	u.t.Helper()
	var p picture
	_, err := u.glance.Get(u.ctx, u.glance.ServiceURL("images", id), &p, nil)
	must(u.t, err)
	return p
}

// images returns the ids of the images of that name.
func (u *user) images(name string) []string {
	u.t.Helper()
	var list struct{ Images []picture }
	_, err := u.glance.Get(u.ctx, u.glance.ServiceURL("images")+"?"+url.Values{"name": {name}}.Encode(), &list, nil)
	must(u.t, err)
	var ids []string
	for _, p := range list.Images {
		ids = append(ids, p.ID)
	}
	return ids
}

// imagesNamed returns the images whose names begin with a text.
func (u *user) imagesNamed(prefix string) []picture {
	u.t.Helper()
	var found []picture
	for marker := ""; ; {
		var list struct{ Images []picture }
		// Shared is what images are that nobody has made private.
		query := url.Values{"limit": {"500"}, "visibility": {"shared"}}
		if marker != "" {
			query.Set("marker", marker)
		}
		_, err := u.glance.Get(u.ctx, u.glance.ServiceURL("images")+"?"+query.Encode(), &list, nil)
		must(u.t, err)
		if len(list.Images) == 0 {
			return found
		}
		marker = list.Images[len(list.Images)-1].ID
		for _, p := range list.Images {
			if strings.HasPrefix(p.Name, prefix) {
				found = append(found, p)
			}
		}
	}
}

// revoke makes the user's token useless, as a logout does.
func (u *user) revoke() {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.ctx, http.MethodDelete, os.Getenv("KARBOR_TEST_KEYSTONE")+"/auth/tokens", nil)
	must(u.t, err)
	req.Header.Set("X-Auth-Token", u.caller.AuthToken)
	req.Header.Set("X-Subject-Token", u.caller.AuthToken)
	status, _, _ := roundTrip(u.t, req)
	if status != http.StatusNoContent {
		u.t.Fatalf("revoke a token: status %d", status)
	}
}

// account is the Swift account of the banks.
type account struct {
	t     testing.TB
	url   string
	token string
}

// swift logs in as user karbor in project service, the owner of the banks.
func swift(t testing.TB) *account {
	t.Helper()
	need(t, "KARBOR_TEST_KEYSTONE", "KARBOR_TEST_SWIFT")
	domain := map[string]any{"name": "Default"}
	body, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{
			"user": map[string]any{"name": "karbor", "password": password, "domain": domain}}},
		"scope": map[string]any{"project": map[string]any{"name": "service", "domain": domain}},
	}})
	must(t, err)
	req, err := http.NewRequest(http.MethodPost, os.Getenv("KARBOR_TEST_KEYSTONE")+"/auth/tokens", bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	status, header, answer := roundTrip(t, req)
	var reply struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ Interface, URL string }
			}
		}
	}
	if err := json.Unmarshal(answer, &reply); err != nil || status != http.StatusCreated {
		t.Fatalf("log in as karbor: status %d, %v", status, err)
	}
	for _, service := range reply.Token.Catalog {
		for _, endpoint := range service.Endpoints {
			if service.Type == "object-store" && endpoint.Interface == "public" {
				return &account{t: t, url: endpoint.URL, token: header.Get("X-Subject-Token")}
			}
		}
	}
	t.Fatal("the catalogue has no Swift")
	return nil
}

// container returns the name of a new container, which the test's end removes.
func (a *account) container() string {
	a.t.Helper()
	name := "functional-" + uuid.NewString()[:8]
	a.t.Cleanup(func() { a.drop(name) })
	return name
}

func (a *account) request(method, path string, body []byte, header map[string]string) (int, http.Header, []byte) {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(body))
	must(a.t, err)
	req.Header.Set("X-Auth-Token", a.token)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return roundTrip(a.t, req)
}

// at is the path of an object. Names begin with a slash, which must survive.
func at(container, name string) string {
	return "/" + container + "/" + strings.ReplaceAll(name, "@", "%40")
}

func (a *account) head(container, name string) (int, http.Header) {
	a.t.Helper()
	status, header, _ := a.request(http.MethodHead, at(container, name), nil, nil)
	return status, header
}

func (a *account) get(container, name string) (string, http.Header) {
	a.t.Helper()
	status, header, body := a.request(http.MethodGet, at(container, name), nil, nil)
	if status != http.StatusOK {
		a.t.Fatalf("get %s: status %d", name, status)
	}
	return string(body), header
}

// put writes an object as the bank of the original did.
func (a *account) put(container, name, body, serialized string) {
	a.t.Helper()
	status, _, _ := a.request(http.MethodPut, at(container, name), []byte(body), map[string]string{"X-Object-Meta-Serialized": serialized})
	if status != http.StatusCreated {
		a.t.Fatalf("put %s: status %d", name, status)
	}
}

// list returns the names in a container, none if there is no container.
func (a *account) list(container string) []string {
	a.t.Helper()
	var names []string
	for {
		marker := ""
		if len(names) > 0 {
			marker = names[len(names)-1]
		}
		_, _, body := a.request(http.MethodGet, "/"+container+"?"+url.Values{"marker": {marker}}.Encode(), nil, nil)
		page := strings.Fields(string(body))
		if len(page) == 0 || !strings.HasPrefix(page[0], "/") {
			return names
		}
		names = append(names, page...)
	}
}

// empty removes what is in a container.
func (a *account) empty(container string) {
	a.t.Helper()
	names := a.list(container)
	for part := range slices.Chunk(names, 2000) {
		var lines strings.Builder
		for _, name := range part {
			lines.WriteString(container + "/" + strings.ReplaceAll(name, "@", "%40") + "\n")
		}
		a.request(http.MethodPost, "?bulk-delete", []byte(lines.String()), map[string]string{"Content-Type": "text/plain"})
	}
}

// drop removes a container and what is in it.
func (a *account) drop(container string) {
	a.t.Helper()
	a.empty(container)
	await(a.t, "an empty container "+container, func() (bool, any) {
		status, _, _ := a.request(http.MethodDelete, "/"+container, nil, nil)
		return status == http.StatusNoContent || status == http.StatusNotFound, status
	})
}

// roundTrip sends a request on a connection that is closed afterwards.
func roundTrip(t testing.TB, req *http.Request) (int, http.Header, []byte) {
	t.Helper()
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, resp.Header, body
}
