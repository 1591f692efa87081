// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// outage is a time in which a worker has no database or no bank.
type outage struct {
	long   bool // twice the hold of an operation, or twice the lease; else half of it
	silent bool // connections stay and nobody answers; else they are cut and refused
}

func (o outage) String() string {
	return map[bool]string{false: "short", true: "long"}[o.long] + " and " + map[bool]string{false: "refused", true: "silent"}[o.silent]
}

// store is what can be away, and for how long it must be for the worker to lose
// its operations or its lease.
type store struct {
	name string
	hold time.Duration
}

const (
	trialHold  = 4 * time.Second
	trialLease = 6 * time.Second
)

// TestOutages takes the database or the bank away when a worker comes to a
// failpoint, one after the other, in each kind of operation, for shorter and for
// longer than the worker may be without. The operation ends by itself when it is
// back, once, and bank, database and journal tell the same of it.
func TestOutages(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	kinds, every := fragileKinds, 1
	if os.Getenv("KARBOR_TEST_FAILPOINTS") != all {
		kinds, every = fragileKinds[:1], 5
	}
	for _, s := range []store{{"database", trialHold}, {"bank", trialLease}} {
		for _, kind := range kinds {
			t.Run(s.name+"/"+kind.String(), func(t *testing.T) {
				t.Parallel()
				f, way := newOutage(t, s, kind)
				earlier, passed := f.watch()
				f.mayFail = true
				tried, reached := 0, 0
				for i, name := range slices.Sorted(maps.Keys(passed)) {
					if i%every != 0 || earlier[name] >= passed[name] {
						continue
					}
					// Whatever is before a point is after another one, so that each meets each kind of outage nearby.
					o := outage{long: tried%2 == 1, silent: tried/2%2 == 1}
					tried++
					if f.without(way, s, o, fmt.Sprintf("%s:%d", name, earlier[name]+1)) {
						reached++
					}
				}
				t.Logf("%s without %s: %d failpoints, %d outages", kind, s.name, tried, reached)
				if reached < (tried+1)/2 {
					t.Errorf("%d of %d failpoints were reached", reached, tried)
				}
			})
		}
	}
}

// newOutage is a trial whose workers reach a store by a way that can be shut.
func newOutage(t *testing.T, s store, kind fragileKind) (*fragileSite, *relay) {
	t.Helper()
	f := newFragile(t, inSwift, kind)
	p := f.bank
	for option, d := range map[string]time.Duration{"lease_expire_window": trialLease, "lease_renew_window": trialLease / 3, "lease_validity_window": time.Second} {
		p.conf.set("swift_bank_plugin", option, strconv.Itoa(int(d.Seconds())))
	}
	// What asks once only fails in an outage that lasts, so that failures are on trial, too.
	p.conf.set("swift_client", "swift_retry_attempts", "1")
	var way *relay
	if s.name == "bank" {
		way = newRelay(t, hostOf(t, swift(t).url))
		p.conf.set("swift_client", "swift_auth_url", keystoneWith(t, hostOf(t, swift(t).url), way.address()))
	} else {
		u, err := url.Parse(f.db.url)
		must(t, err)
		way = newRelay(t, u.Host)
		u.Host = way.address()
		f.conf.set("database", "connection", u.String())
	}
	f.writeProvider(p)
	return f, way
}

func hostOf(t testing.TB, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	must(t, err)
	return u.Host
}

// keystoneWith is the address of Keystone with a catalog that has another host
// and port for a service.
func keystoneWith(t testing.TB, service, relayed string) string {
	t.Helper()
	backend, err := url.Parse(os.Getenv("KARBOR_TEST_KEYSTONE"))
	must(t, err)
	transport := &http.Transport{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: backend.Scheme, Host: backend.Host})
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: func(res *http.Response) error {
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			body = bytes.ReplaceAll(body, []byte(service), []byte(relayed))
			res.Header.Set("Content-Length", strconv.Itoa(len(body)))
			res.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		},
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL + backend.Path
}

// without lets a worker go without a store from a failpoint on, and reports
// whether the worker has come there.
func (f *fragileSite) without(way *relay, s store, o outage, point string) (reached bool) {
	f.t.Helper()
	checkpoint := f.prepare()
	told, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	over := make(chan struct{})
	go func() {
		defer close(over)
		conn, err := told.Accept()
		if err != nil {
			return // it has not come there
		}
		reached = true
		way.take(o.silent)
		_ = conn.Close()
		lasts := s.hold / 2
		if o.long {
			lasts = 2 * s.hold
		}
		time.Sleep(lasts) // it is the outage
		way.give()
	}()
	w := f.begin("worker", "FRAGILE_AT="+point, "FRAGILE_TELL="+told.Addr().String())
	w.ready()
	f.operate(checkpoint, w.ended)
	answered := make(chan struct{})
	close(answered)
	select {
	case <-over:
	case <-f.quiet(answered):
	}
	for f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '"+f.kind.name+"'") == 0 {
		f.ask(checkpoint) // the request was refused
	}
	f.insist()
	f.settle()
	f.pass()
	f.rest(w)
	_ = told.Close()
	<-over
	about := fmt.Sprintf("without %s, %s, from %s on", s.name, o, point)
	if !reached {
		about = "has not come to " + point
	}
	outcomes := []string{}
	f.db.each("SELECT kind, outcome FROM protection_operations", 2, func(c []string) { outcomes = append(outcomes, strings.Join(c, " ")) })
	f.t.Logf("%s: %v", about, outcomes)
	f.judge(about)
	f.forget()
	return reached
}
