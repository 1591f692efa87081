// SPDX-License-Identifier: Apache-2.0

// Package page shows people how a worker fares, in one page of HTML that needs nothing
// else: no script, no other file.
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

// State is what a page tells of. Times are UTC.
type State struct {
	Host      string
	Now       time.Time
	Ready     bool
	Services  []Service // broker and database
	Providers []Provider
	Workers   []operation.Worker
	Running   []operation.Work
	Failures  []operation.View // the newest first
	Problem   string           // why workers and failures are not known
}

// Service is something that the worker depends on.
type Service struct {
	Name   string
	Up     bool
	Reason string // why it is not up
}

// Provider is a provider that is loaded, or a file that could not be, which has no ID.
type Provider struct {
	ID string
	Service
	Successes []Success
}

// Success is when the last operation of a type succeeded.
type Success struct {
	Type string
	At   time.Time
}

// Access says who may read the page.
type Access struct {
	// Anywhere lets clients of other machines read it.
	Anywhere bool
	// Token, which a client gives as the password, or as a bearer, shows it the ids of
	// projects and the names and ids of resources. Empty: nobody sees them.
	Token string
}

// most is how many operations a page shows.
const most = 20

//go:embed page.html
var markup string

//go:embed page.css
var style string

// Handler serves the page. Clients without the token learn of no project, and of resources
// their types and what the reasons of failures say.
type Handler struct {
	access Access
	state  func(context.Context) (State, bool)
}

var _ http.Handler = (*Handler)(nil)

// New makes a handler. state returns false as long as there is nothing to show.
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

// literal reports whether the client has asked for an address or for localhost: another
// name that leads here may be that of a page which its browser has loaded elsewhere.
func literal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// trusted reports whether a request has credentials, and whether they hold.
func (h *Handler) trusted(r *http.Request) (given, ok bool) {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !given {
		_, token, given = r.BasicAuth()
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(h.access.Token))
	return given, given && h.access.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// shown is what the template shows.
type shown struct {
	State
	Running  []running
	More     int // operations that are not shown
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

// ago writes a time that has passed, as people say it.
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

// stateOf is the state of a resource as the drawing has it: done only when its last hook is.
func stateOf(r *progress.Resource) string {
	switch {
	case r.State == progress.Running, r.State == progress.Failed:
		return string(r.State)
	case len(r.Hooks) > 0 && len(r.Done) >= len(r.Hooks):
		return "done"
	}
	return string(progress.Waiting)
}
