// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "karbor.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	t.Parallel()
	file := configFile(t, `[DEFAULT]
transport_url = rabbit://u:hush@one:1,u:hush@two:2/vhost
control_exchange = karbor
protection_topic = topic-of-file
rpc_response_timeout = 7
[oslo_messaging_rabbit]
amqp_durable_queues = True
`)
	for name, c := range map[string]struct {
		options Options
		brokers string
		target  rpc.Target
		timeout time.Duration
	}{
		"file": {Options{ConfigFiles: []string{file}}, "one:1, two:2",
			rpc.Target{Exchange: "karbor", Topic: "topic-of-file"}, 7 * time.Second},
		"flags over file": {Options{ConfigFiles: []string{file}, URL: "rabbit://u:$hush@three/", Topic: "t", Server: "s", Timeout: time.Second},
			"three:5672", rpc.Target{Exchange: "karbor", Topic: "t", Server: "s"}, time.Second},
		"later file": {Options{ConfigFiles: []string{file, configFile(t, "[DEFAULT]\nprotection_topic = later\n")}}, "one:1, two:2",
			rpc.Target{Exchange: "karbor", Topic: "later"}, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Open(c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if got.brokers != c.brokers || got.target != c.target || got.timeout != c.timeout {
				t.Errorf("%s %+v %s", got.brokers, got.target, got.timeout)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"scheme":       {Options{URL: "http://u:hush@x"}, "--url: transport URL"},
		"no file":      {Options{ConfigFiles: []string{"/nonexistent.conf"}}, "configuration: "},
		"wrong value":  {Options{ConfigFiles: []string{configFile(t, "[DEFAULT]\nrpc_response_timeout = soon\n")}}, "rpc_response_timeout"},
		"wrong url":    {Options{ConfigFiles: []string{configFile(t, "[DEFAULT]\ntransport_url = hush\n")}}, "option transport_url in section [DEFAULT]"},
		"wrong option": {Options{URL: "rabbit://h/?nosuch=hush"}, "nosuch"},
	} {
		client, err := Open(c.options)
		if err == nil {
			client.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestBrokerAway(t *testing.T) {
	t.Parallel()
	// A port that was free a moment ago has no broker behind it.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	synctest.Test(t, func(t *testing.T) {
		var notes []string
		c, err := Open(Options{ConfigFiles: []string{configFile(t, "")}, URL: "rabbit://u:hush@" + address + "/", Timeout: time.Second,
			Note: func(text string) { notes = append(notes, text) }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Call(t.Context(), Request{Method: "m"})
		if e := c.Close(); e != nil {
			t.Error(e)
		}
		var silent *NoAnswer
		want := "the message broker at " + address + " did not answer within 1s: connect: connection refused; is it running, and is the address right (--url, transport_url)?"
		if !errors.As(err, &silent) || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if note := "the message broker at " + address + " does not answer (connect: connection refused), trying again for 1s"; len(notes) != 1 || notes[0] != note {
			t.Errorf("notes: %q", notes)
		}
	})
}

func TestRealBroker(t *testing.T) {
	t.Parallel()
	url := os.Getenv("RABBIT_URL")
	if url == "" {
		t.Skip("RABBIT_URL is not set: no real broker to call through")
	}
	topic := "karborctl-" + uuid.NewString()
	// The exchange and the queues go with the test.
	const text = "[oslo_messaging_rabbit]\namqp_auto_delete = True\n"
	file := configFile(t, "[DEFAULT]\ncontrol_exchange = "+topic+"\n"+text)
	open := func(edit func(*Options)) *Client {
		o := Options{ConfigFiles: []string{file}, URL: url, Topic: topic, Timeout: 30 * time.Second}
		edit(&o)
		c, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := open(func(*Options) {})
	var silent *NoAnswer
	if _, err := c.Call(t.Context(), Request{Method: "m"}); !errors.As(err, &silent) || !errors.Is(err, rpc.ErrUndeliverable) {
		t.Errorf("without a worker: %v", err)
	}
	serveEcho(t, open(func(*Options) {}))
	if err := c.As(&requestcontext.RequestContext{UserID: "u"}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	got, err := c.Call(t.Context(), Request{Method: "echo", Args: map[string]any{"x": json.RawMessage("1.50")}})
	if err != nil || string(got) != `["u",1.50]` {
		t.Errorf("echo: %s, %v", got, err)
	}
	other := open(func(o *Options) { o.ConfigFiles = []string{configFile(t, "[DEFAULT]\ncontrol_exchange = "+topic+"\n")} })
	if _, err = other.Call(t.Context(), Request{Method: "m"}); !errors.As(err, &silent) || !strings.Contains(err.Error(), "[oslo_messaging_rabbit]") {
		t.Errorf("with other options than the worker: %v", err)
	}
	parsed, err := rpc.ParseTransportURL(url)
	if err != nil {
		t.Fatal(err)
	}
	wrong := open(func(o *Options) { o.URL = "rabbit://nobody:hush@" + parsed.Brokers()[0].Address() + "/" })
	if _, err = wrong.Call(t.Context(), Request{Method: "m"}); !errors.As(err, &silent) ||
		!strings.Contains(err.Error(), "refuses: ") || strings.Contains(err.Error(), "hush") {
		t.Errorf("a wrong password: %v", err)
	}
}

// serveEcho answers the caller's user and the argument x.
func serveEcho(t *testing.T, c *Client) {
	t.Helper()
	echo := func(_ context.Context, r *rpc.Request) (any, error) {
		return []json.RawMessage{r.Context["user_id"], r.Args["x"]}, nil
	}
	target := c.target
	target.Server = "echo"
	server, err := rpc.NewServer(c.transport, target, []rpc.Endpoint{{Methods: map[string]rpc.Method{"echo": {Handler: echo}}}}, rpc.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Without a configuration there is no broker to ask: the default of the service would be
// one on this machine, which nobody has named.
func TestOpenWithoutConfiguration(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if found, _ := (&config.Source{Project: "karbor", Prog: "karbor-protection", Home: home}).Search(); len(found) > 0 {
		t.Skipf("this machine has %q", found)
	}
	_, err := Open(Options{})
	if err == nil || !strings.Contains(err.Error(), "nothing names the message broker") || !strings.Contains(err.Error(), home) {
		t.Errorf("error %v", err)
	}
}
