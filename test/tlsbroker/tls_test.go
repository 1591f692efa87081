// SPDX-License-Identifier: Apache-2.0

package tlsbroker

import (
	"context"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// site is two nodes and everybody's certificates.
type site struct {
	ours, foreign *authority
	// strict wants a certificate of every client; it is localhost by its own.
	strict node
	// recent speaks TLS 1.3 alone, to clients with and without a certificate; its
	// own is of another name.
	recent           node
	client, stranger identity
}

func newSite(t *testing.T) *site {
	t.Helper()
	serverScript(t)
	s := &site{ours: newAuthority(t, "ours"), foreign: newAuthority(t, "foreign")}
	s.client = s.ours.issue(t, certifiedUser)
	s.stranger = s.foreign.issue(t, certifiedUser)
	s.strict = startNode(t, s.ours, s.ours.issue(t, "localhost"),
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true",
		"ssl_options.versions.1 = tlsv1.3", "ssl_options.versions.2 = tlsv1.2")
	s.recent = startNode(t, s.ours, s.ours.issue(t, "elsewhere"),
		"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = false", "ssl_options.versions.1 = tlsv1.3")
	s.strict.await(t)
	s.recent.await(t)
	return s
}

// query makes the options part of a transport URL; ssl is always on.
func query(options ...string) string {
	q := url.Values{"ssl": {"1"}}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		q.Set(name, value)
	}
	return "?" + q.Encode()
}

func (s *site) trust() string { return "ssl_ca_file=" + s.ours.root }

// shows are the options of a client that shows a certificate.
func shows(i identity) []string {
	return []string{"ssl_cert_file=" + i.certificate, "ssl_key_file=" + i.key}
}

// connect makes a transport whose warnings and errors the test can read.
func connect(t *testing.T, address string) (*rabbit.Transport, *complaints) {
	t.Helper()
	u, err := rpc.ParseTransportURL(address)
	if err != nil {
		t.Fatal(err)
	}
	heard := &complaints{heard: make(chan string, 100)}
	log := logrus.New()
	log.SetOutput(t.Output())
	log.AddHook(heard)
	tr, err := rabbit.New(u, rabbit.DefaultOptions(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tr, heard
}

// complaints collects the errors of a log.
type complaints struct{ heard chan string }

func (c *complaints) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

func (c *complaints) Fire(e *logrus.Entry) error {
	if err, ok := e.Data[logrus.ErrorKey].(error); ok {
		select {
		case c.heard <- err.Error():
		default:
		}
	}
	return nil
}

func (s *site) serve(ctx context.Context, t *testing.T, address string) string {
	t.Helper()
	topic := "tls" + rpc.NewID()[:8]
	tr, _ := connect(t, address)
	double := func(_ context.Context, r *rpc.Request) (any, error) {
		var x int
		if err := r.Unpack(rpc.Required("x", &x)); err != nil {
			return nil, err
		}
		return 2 * x, nil
	}
	server, err := rpc.NewServer(tr, rpc.Target{Topic: topic, Server: "one"},
		[]rpc.Endpoint{{Methods: map[string]rpc.Method{"double": {Handler: double}}}}, rpc.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return topic
}

// TestChecklist07_TLSOnBothSides lets a server and a client talk in each way that a node must take.
func TestChecklist07_TLSOnBothSides(t *testing.T) {
	s := newSite(t)
	t.Run("served", s.testServed)
	t.Run("refused", s.testRefused)
	t.Run("python", s.testPython)
}

func (s *site) testServed(t *testing.T) {
	certified := append(shows(s.client), s.trust())
	for name, address := range map[string]string{
		"password and certificate":     s.strict.url(passwordUser) + query(certified...),
		"certificate as the login":     s.strict.url("") + query(append(certified, "rabbit_login_method=EXTERNAL")...),
		"certificate, PLAIN":           s.strict.url(passwordUser) + query(append(certified, "rabbit_login_method=PLAIN")...),
		"TLS 1.2 alone":                s.strict.url(passwordUser) + query(append(certified, "ssl_version=TLSv1_2")...),
		"broker not verified":          s.strict.url(passwordUser) + query(shows(s.client)...),
		"password alone, another name": s.recent.url(passwordUser) + query(s.trust(), "ssl_enforce_hostname_verification=no"),
		"nothing but TLS":              s.recent.url(passwordUser) + query(),
		"certificate as the login, 1.3": s.recent.url("") +
			query(append(certified, "rabbit_login_method=EXTERNAL", "ssl_enforce_hostname_verification=no")...),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			topic := s.serve(ctx, t, address)
			tr, _ := connect(t, address)
			var got int
			err := rpc.NewClient(tr, rpc.Target{Topic: topic}, rpc.ClientOptions{}).
				Call(ctx, nil, "double", map[string]any{"x": 21}, &got)
			if err != nil || got != 42 {
				t.Errorf("answer is %d, %v", got, err)
			}
		})
	}
}

// testRefused wants of each refusal that the log says what is wrong.
func (s *site) testRefused(t *testing.T) {
	certified := append(shows(s.client), s.trust())
	for name, row := range map[string]struct {
		address string
		why     []string // one of them is in the error
	}{
		"broker of another authority": {
			s.strict.url(passwordUser) + query(append(shows(s.client), "ssl_ca_file="+s.foreign.root)...),
			[]string{"certificate signed by unknown authority"},
		},
		"broker of another authority, any name": {
			s.strict.url(passwordUser) + query(append(shows(s.client), "ssl_ca_file="+s.foreign.root, "ssl_enforce_hostname_verification=no")...),
			[]string{"certificate signed by unknown authority"},
		},
		"broker of another name": {
			s.recent.url(passwordUser) + query(s.trust()),
			[]string{"certificate is valid for elsewhere, not localhost"},
		},
		// In TLS 1.3 a client learns of this after its own part of the handshake, and
		// the end of the connection may overtake the alert.
		"no certificate": {
			s.strict.url(passwordUser) + query(s.trust()),
			[]string{"tls: certificate required", "connection reset by peer", "broken pipe", "EOF"},
		},
		"no certificate, TLS 1.2": {
			s.strict.url(passwordUser) + query(s.trust(), "ssl_version=TLSv1_2"),
			[]string{"tls: handshake failure"},
		},
		// The broker has not named its authority; it gets to see it all the same.
		"certificate of another authority": {
			s.strict.url(passwordUser) + query(append(shows(s.stranger), s.trust(), "ssl_version=TLSv1_2")...),
			[]string{"tls: unknown certificate authority"},
		},
		"too old a version": {
			s.recent.url(passwordUser) + query(s.trust(), "ssl_version=TLSv1_2", "ssl_enforce_hostname_verification=no"),
			[]string{"tls: protocol version not supported", "tls: insufficient security level"},
		},
		"without TLS": {
			s.strict.url(passwordUser) + "?ssl=0",
			[]string{"AMQP handshake"},
		},
		"certificate as the login, without one": {
			s.recent.url("") + query(s.trust(), "ssl_enforce_hostname_verification=no", "rabbit_login_method=EXTERNAL"),
			[]string{"username or password not allowed", "ACCESS_REFUSED", "no mechanism"},
		},
		"wrong password over TLS": {
			strings.Replace(s.strict.url(passwordUser), ":"+password+"@", ":wrong@", 1) + query(certified...),
			[]string{"username or password not allowed", "ACCESS_REFUSED"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr, heard := connect(t, row.address)
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			// A refusal that may pass is in the log while the transport goes on trying;
			// one for good is what it returns.
			returned := make(chan error, 1)
			var asking sync.WaitGroup
			asking.Go(func() {
				_, err := tr.Replies(ctx)
				returned <- err
			})
			var said string
			select {
			case said = <-heard.heard:
			case err := <-returned:
				if err == nil {
					t.Fatal("the broker has let it in")
				}
				said = err.Error()
			}
			cancel()
			asking.Wait()
			if !slices.ContainsFunc(row.why, func(why string) bool { return strings.Contains(said, why) }) {
				t.Errorf("the error is %q, want one of %q in it", said, row.why)
			}
			t.Log(said)
		})
	}
}

// testPython lets oslo.messaging call through the same nodes.
func (s *site) testPython(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import oslo_messaging").Run(); err != nil {
		t.Skipf("%s has no oslo.messaging: %v", python, err)
	}
	certified := append(shows(s.client), s.trust())
	for name, address := range map[string]string{
		"password and certificate": s.strict.url(passwordUser) + query(certified...),
		"certificate as the login": s.strict.url(certifiedUser) + query(append(certified, "rabbit_login_method=EXTERNAL")...),
		"TLS 1.2 alone":            s.strict.url(passwordUser) + query(append(certified, "ssl_version=TLSv1_2")...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			topic := s.serve(ctx, t, s.strict.url(passwordUser)+query(certified...))
			cmd := exec.CommandContext(ctx, python, filepath.Join("python", "call.py"), address, topic, "60")
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "42") {
				t.Errorf("call.py: %v: %s", err, out)
			}
		})
	}
}
