// SPDX-License-Identifier: Apache-2.0

// Package page shows the state of a worker in one self-contained page of HTML, without scripts or
// other files.
package page

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/printable"
)

// State is the content of a page. Times are in UTC.
type State struct {
	Host      string
	Now       time.Time
	Ready     bool
	Services  []Service // broker and database
	Providers []Provider
	Workers   []operation.Worker
	Running   []operation.Work
	Failures  []operation.View // newest first
	Problem   string           // why workers and failures are unknown
}

// Service is a service that the worker depends on.
type Service struct {
	Name   string
	Up     bool
	Reason string // why the service is not up
}

// Provider is a loaded provider, or a file that could not be loaded, which has no ID.
type Provider struct {
	ID string
	Service
	Successes []Success
}

// Success is the time at which the last operation of a type succeeded.
type Success struct {
	Type string
	At   time.Time
}

// Access defines who may read the page.
type Access struct {
	// Anywhere allows clients on other machines.
	Anywhere bool
	// Token is the secret that clients send as password or bearer token to see the ids of projects
	// and the names and ids of resources. If it is empty, nobody sees them.
	Token string
}

// most is the maximum number of operations on a page.
const most = 20

//go:embed page.html
var markup string

//go:embed page.css
var style string

// Handler serves the page. Clients without the token see no projects, and of resources only their
// types and what the reasons of failures say.
type Handler struct {
	access Access
	state  func(context.Context) (State, bool)
}

var _ http.Handler = (*Handler)(nil)

// New returns a handler. state returns false as long as there is nothing to show.
func New(a Access, state func(context.Context) (State, bool)) *Handler { return &Handler{a, state} }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.access.Anywhere && !(local(r.RemoteAddr) && literal(r.Host)) {
		http.Error(w, "This page is for clients on the worker's own machine (option status_page).", http.StatusForbidden)
		return
	}
	given, trusted := h.trusted(r)
	if !trusted && (given || r.URL.Query().Has("names") && h.access.Token != "") {
		w.Header().Set("WWW-Authenticate", `Basic realm="karbor-protection: any user, the token as password"`)
		http.Error(w, "The token of option status_page_token is needed.", http.StatusUnauthorized)
		return
	}
	s, ok := h.state(r.Context())
	if !ok {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	nonce := rand.Text()
	var text bytes.Buffer
	if err := h.write(&text, s, trusted, nonce); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	for name, value := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'nonce-" + nonce + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		w.Header().Set(name, value)
	}
	_, _ = text.WriteTo(w)
}

// local reports whether a client is on this machine.
func local(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// literal reports whether the client asked for an IP address or localhost. Another name that
// resolves to this host may belong to a page from elsewhere in the client's browser.
func literal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// trusted reports whether a request has credentials, and whether they are valid.
func (h *Handler) trusted(r *http.Request) (given, ok bool) {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !given {
		_, token, given = r.BasicAuth()
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(h.access.Token))
	return given, given && h.access.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// shown is the data of the template.
type shown struct {
	State
	Running  []running
	More     int // number of further operations
	Trusted  bool
	HasToken bool
	Nonce    string
	Style    template.CSS
}

// running is an operation of this worker.
type running struct {
	operation.View
	Project     string
	Class       string
	Done, Steps int // hooks
	Percent     int
	Resources   int
	Drawing     *drawing
}

func (h *Handler) write(out *bytes.Buffer, s State, trusted bool, nonce string) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"ago":    func(t time.Time) string { return ago(s.Now.Sub(t)) },
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"plural": func(n int, what string) string { return what + map[bool]string{true: "", false: "s"}[n == 1] },
	}).Parse(markup)
	if err != nil {
		return err
	}
	page := shown{State: s, Trusted: trusted, HasToken: h.access.Token != "", Nonce: nonce, Style: template.CSS(style)} //nolint:gosec // our own file
	for i, o := range s.Running {
		if i == most {
			page.More = len(s.Running) - most
			break
		}
		page.Running = append(page.Running, show(o, trusted))
	}
	page.Failures = make([]operation.View, len(s.Failures))
	for i, f := range s.Failures {
		if !trusted {
			if f.ProjectID != "" {
				f.Reason = strings.ReplaceAll(f.Reason, f.ProjectID, "…")
			}
			f.ProjectID = ""
		}
		f.Reason = printable.Cut(cmp.Or(f.Reason, "no reason is known"), 1000)
		page.Failures[i] = f
	}
	return t.Execute(out, page)
}

func show(o operation.Work, trusted bool) running {
	r := running{View: o.View, Class: "busy", Resources: len(o.Resources), Drawing: draw(o, trusted)}
	if trusted {
		r.Project = o.ProjectID
	}
	if o.Status != "running" {
		r.Class = "idle"
	}
	for i := range o.Resources {
		r.Steps += len(o.Resources[i].Hooks)
		r.Done += len(o.Resources[i].Done)
	}
	if r.Steps > 0 {
		r.Percent = min(100*r.Done/r.Steps, 100)
	}
	return r
}

// ago formats a duration in the past for readers.
func ago(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}} {
		if d >= 2*unit.of {
			return fmt.Sprintf("%d %s ago", d/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d s ago", max(d, 0)/time.Second)
}

// stateOf returns the state of a resource for the drawing, which is done only after the last hook.
func stateOf(r *progress.Resource) string {
	switch {
	case r.State == progress.Running, r.State == progress.Failed:
		return string(r.State)
	case len(r.Hooks) > 0 && len(r.Done) >= len(r.Hooks):
		return "done"
	}
	return string(progress.Waiting)
}
