// SPDX-License-Identifier: Apache-2.0

package page

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var now = time.Date(2026, 11, 30, 21, 30, 0, 0, time.UTC)

// hooks are those of a resource with children.
var hooks = []string{"on_prepare_begin", "on_prepare_finish", "on_main", "on_complete"}

// at is a resource that has ended so many hooks, and is in a state of the next one.
func at(r resource.Resource, ended int, s progress.State, percent int) progress.Resource {
	p := progress.Resource{Type: r.Type, ID: r.ID, State: s, Percent: percent, Hooks: hooks, Done: hooks[:ended]}
	switch s {
	case progress.Finished:
		p.Hook = hooks[ended-1]
	case progress.Running, progress.Failed:
		p.Hook = hooks[ended]
	}
	return p
}

// sample is a worker with much to tell.
func sample() State {
	volume := func(id, name string) *resource.Node {
		return &resource.Node{Resource: resource.Resource{Type: resource.Volume, ID: id, Name: name}}
	}
	data, logs, scratch := volume("5d1f0a44-22", "payroll-data"), volume("b1c7e8d2-31", "payroll-logs"), volume("0c99d7aa-77", "scratch")
	image := &resource.Node{Resource: resource.Resource{Type: resource.Image, ID: "77aa12cd-01", Name: "debian-12"}}
	net := &resource.Node{Resource: resource.Resource{Type: resource.Network, ID: "net", Name: "backend"}}
	db := &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: "8f1c2d33-90", Name: "payroll-db"}, Children: []*resource.Node{data, logs, image, net}}
	web := &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: "a3e4b5c6-91", Name: "payroll-web"}, Children: []*resource.Node{scratch, image, net}}
	project := &resource.Node{Resource: resource.Resource{Type: resource.Project, ID: "payroll-project", Name: "payroll"}, Children: []*resource.Node{db, web}}
	ended := now.Add(-40 * time.Minute)
	return State{
		Host: "backup-1", Now: now, Services: []Service{{Name: "broker", Up: true}, {Name: "database", Up: true}},
		Providers: []Provider{
			{ID: "cf56bd3e-97a7-4078-b6d5-f36246333fd9", Service: Service{Name: "OS infra in Swift", Up: true}, Successes: []Success{
				{Type: "protect", At: now.Add(-5 * time.Hour)}, {Type: "restore", At: now.Add(-9 * 24 * time.Hour)}, {Type: "verify", At: now.Add(-27 * time.Hour)}}},
			{ID: "b766f37c-d011-4026-8228-28730d734a3f", Service: Service{Name: "Off-site files", Reason: "/mnt/offsite: no such file or directory"}},
		},
		Workers: []operation.Worker{
			{ID: "w1", Host: "backup-1", State: "up", SeenAt: now.Add(-2 * time.Second), Operations: 3},
			{ID: "w2", Host: "backup-2", State: "up", SeenAt: now.Add(-4 * time.Second), Operations: 1},
			{ID: "w3", Host: "backup-3", State: "down", SeenAt: now.Add(-7 * time.Minute)},
		},
		Running: []operation.Work{
			{View: operation.View{ID: "0b6a3bb4-4c5d-4c59-8a40-50c6f19fd5a8", Type: "protect", Status: "running", ProjectID: "payroll-project",
				ProviderID: "cf56bd3e-97a7-4078-b6d5-f36246333fd9", CheckpointID: "2bd6c2fb-26d1-4a5f-8b0a-5c8e0d1f8b7e", CreatedAt: now.Add(-8 * time.Minute)},
				Graph: &resource.Graph{Roots: []*resource.Node{project}},
				Resources: []progress.Resource{
					at(project.Resource, 1, progress.Finished, 0), at(db.Resource, 2, progress.Finished, 0), at(web.Resource, 2, progress.Finished, 0),
					at(data.Resource, 2, progress.Running, 64), at(logs.Resource, 4, progress.Finished, 0), at(image.Resource, 4, progress.Finished, 0),
					at(net.Resource, 2, progress.Running, 0), at(scratch.Resource, 2, progress.Failed, 0),
				}},
			crowd(200),
			{View: operation.View{ID: "77d9e3a1-5c2e-4ad1-9a35-8f3bb7b2c0de", Type: "verify", Status: "queued", ProviderID: "cf56bd3e-97a7-4078-b6d5-f36246333fd9",
				CheckpointID: "f00dfb1a-6f7c-4c3f-9b9f-6f1f5c2d3e4f", CreatedAt: now.Add(-30 * time.Second)}},
		},
		Failures: []operation.View{{ID: "5a0c0f5e-0b8e-4f0a-9a33-0f4f6f0a7c11", Type: "restore", Status: "failed", ProjectID: "payroll-project",
			ProviderID: "cf56bd3e-97a7-4078-b6d5-f36246333fd9", CheckpointID: "9a4d7f1e-1b2c-4d3e-8f4a-5b6c7d8e9f00", EndedAt: &ended,
			Reason: "Volume 5d1f0a44 of project payroll-project: the quota of volumes is used up (HTTP 413)"}},
	}
}

// crowd is an operation on so many volumes of servers.
func crowd(volumes int) operation.Work {
	w := operation.Work{View: operation.View{ID: "e1b9c0aa-64a8-4f0c-9f2c-1d2e3f4a5b6c", Type: "protect", Status: "running", ProviderID: "cf56bd3e-97a7-4078-b6d5-f36246333fd9",
		CheckpointID: "c4d5e6f7-0819-4a2b-8c3d-4e5f60718293", CreatedAt: now.Add(-95 * time.Minute)}}
	project := &resource.Node{Resource: resource.Resource{Type: resource.Project, ID: "p"}}
	for i := range volumes {
		if i%4 == 0 {
			server := &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)}}
			project.Children = append(project.Children, server)
			w.Resources = append(w.Resources, at(server.Resource, 2, progress.Finished, 0))
		}
		server := project.Children[len(project.Children)-1]
		v := &resource.Node{Resource: resource.Resource{Type: resource.Volume, ID: fmt.Sprint("v", i)}}
		server.Children = append(server.Children, v)
		switch {
		case i < volumes*7/10:
			w.Resources = append(w.Resources, at(v.Resource, 4, progress.Finished, 0))
		case i < volumes*9/10:
			w.Resources = append(w.Resources, at(v.Resource, 2, progress.Running, 30))
		default:
			w.Resources = append(w.Resources, at(v.Resource, 0, progress.Waiting, 0))
		}
	}
	w.Graph = &resource.Graph{Roots: []*resource.Node{project}}
	return w
}

// request asks for the page as a client with an address and credentials.
func request(h *Handler, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://127.0.0.1:9464/", nil)
	r.RemoteAddr = "127.0.0.1:40000"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// serve shows a state.
func serve(a Access, s State) *Handler {
	return New(a, func(context.Context) (State, bool) { return s, true })
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// wellFormed fails unless the body of a page is nested as it should be.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page[strings.Index(page, "<body>"):strings.Index(page, "</html>")]))
	d.Strict, d.Entity = true, xml.HTMLEntity
	for {
		if _, err := d.Token(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("the page is not well formed: %v", err)
			}
			return
		}
	}
}

// The page tells of all that an operator asks about, and of no project or name without
// the token.
func TestPage(t *testing.T) {
	t.Parallel()
	h := serve(Access{Token: "t0ken"}, sample())
	open := request(h, nil)
	named := request(h, bearer("t0ken"))
	for _, w := range []*httptest.ResponseRecorder{open, named} {
		text := w.Body.String()
		wellFormed(t, text)
		for _, want := range []string{
			`http-equiv="refresh"`, "bank answers", "bank is down", "/mnt/offsite: no such file", "<dt>last protect</dt>", "5 h ago", "9 d ago",
			"<h3>backup-3</h3><b>down</b>", "seen <time", "7 min ago", "on_main running 64 %", "140 done, 40 running, 20 waiting", "200 × Volume",
			"<b>queued</b>", "the quota of volumes is used up", "40 min ago",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if strings.Contains(text, "<script") || strings.Contains(text, "ZgotmplZ") {
			t.Errorf("a script, or what the template refused:\n%s", text)
		}
	}
	for _, name := range []string{"payroll", "5d1f0a44-22", "8f1c2d33"} {
		if strings.Contains(open.Body.String(), name) || !strings.Contains(named.Body.String(), name) {
			t.Errorf("%q is shown without the token, or not with it", name)
		}
	}
	if c := open.Result().Header; !strings.Contains(c.Get("Content-Security-Policy"), "default-src 'none'; style-src 'nonce-") || c.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", c)
	}
}

// Whatever tenants, files and services call themselves is text.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	const evil = `"'></svg></style><script>alert(1)</script><img src=x onerror=alert(1)>{{.Nonce}}`
	s := sample()
	s.Host, s.Problem = evil, evil
	s.Providers[0].Name, s.Providers[0].ID, s.Providers[1].Reason = evil, evil, evil
	s.Workers[0].Host, s.Workers[0].State = evil, evil
	s.Failures[0].Reason, s.Failures[0].CheckpointID, s.Failures[0].ProjectID = evil, evil, evil
	o := &s.Running[0]
	o.ID, o.Type, o.Status, o.ProjectID, o.ProviderID, o.CheckpointID = evil, evil, evil, evil, evil, evil
	r := resource.Resource{Type: evil, ID: evil, Name: evil}
	o.Graph = &resource.Graph{Roots: []*resource.Node{{Resource: r}}}
	o.Resources = []progress.Resource{{Type: evil, ID: evil, Hook: evil, Hooks: []string{evil}, State: progress.Failed, Error: evil}}
	text := request(serve(Access{Token: "t"}, s), bearer("t")).Body.String()
	wellFormed(t, text)
	for _, tag := range []string{"<script", "<img"} {
		if strings.Contains(text, tag) {
			t.Errorf("%s is in\n%s", tag, text)
		}
	}
	if n := strings.Count(text, "</style>"); n != 1 {
		t.Errorf("%d styles end", n)
	}
}

// Who may read the page, and what a wrong token gets.
func TestAccessToPage(t *testing.T) {
	t.Parallel()
	remote := func(r *http.Request) { r.RemoteAddr = "192.0.2.7:1" }
	names := func(r *http.Request) { r.URL.RawQuery = "names" }
	for name, c := range map[string]struct {
		access Access
		edit   func(*http.Request)
		code   int
	}{
		"local":                     {code: 200},
		"IPv6":                      {edit: func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:9", "[::1]:9464" }, code: 200},
		"by the name localhost":     {edit: func(r *http.Request) { r.Host = "localhost:9464" }, code: 200},
		"by a name that leads here": {edit: func(r *http.Request) { r.Host = "evil.example:9464" }, code: 403},
		"remote":                    {edit: remote, code: 403},
		"remote, with the token":    {access: Access{Token: "t"}, edit: func(r *http.Request) { remote(r); bearer("t")(r) }, code: 403},
		"remote, everywhere":        {access: Access{Anywhere: true}, edit: remote, code: 200},
		"a wrong token":             {access: Access{Token: "t"}, edit: bearer("x"), code: 401},
		"a token where none is set": {edit: bearer(""), code: 401},
		"a password":                {access: Access{Token: "t"}, edit: func(r *http.Request) { r.SetBasicAuth("me", "t") }, code: 200},
		"asks for names":            {access: Access{Token: "t"}, edit: names, code: 401},
		"asks without a token set":  {edit: names, code: 200},
	} {
		w := request(serve(c.access, sample()), c.edit)
		if w.Code != c.code {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if (w.Header().Get("WWW-Authenticate") != "") != (c.code == 401) {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	early := New(Access{}, func(context.Context) (State, bool) { return State{}, false })
	if w := request(early, nil); w.Code != 503 {
		t.Errorf("before the start: %d", w.Code)
	}
}

// A graph of any size has few boxes, which do not lie upon each other, and its edges lead
// to the right.
func TestDrawing(t *testing.T) {
	t.Parallel()
	for _, volumes := range []int{1, 4, 16, 17, 200, 20000} {
		d := draw(crowd(volumes), false)
		if len(d.Boxes) > mostBoxes || volumes > mostBoxes && (len(d.Boxes) != 3 || len(d.Edges) != 2) {
			t.Errorf("%d volumes: %d boxes, %d edges", volumes, len(d.Boxes), len(d.Edges))
		}
		taken := map[[2]int]bool{}
		for _, b := range d.Boxes {
			if at := [2]int{b.X, b.Y}; taken[at] || b.X+boxWidth > d.Width || b.Y+boxHeight > d.Height {
				t.Errorf("%d volumes: a box at %v", volumes, at)
			} else {
				taken[at] = true
			}
			for _, bar := range b.Bars {
				if bar.Width < 1 || bar.X+bar.Width > boxWidth {
					t.Errorf("%d volumes: %+v", volumes, bar)
				}
			}
		}
		for _, e := range d.Edges {
			if e.X2 <= e.X1 {
				t.Errorf("%d volumes: an edge to the left %+v", volumes, e)
			}
		}
	}
	if draw(operation.Work{}, true) != nil {
		t.Error("a drawing of nothing")
	}
}
