// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

// newerOptions are sets of options that Debian's oslo.messaging does not know.
var newerOptions = map[string][]string{
	"transient quorum": {"rabbit_transient_quorum_queue=true"},
	"stream":           {"rabbit_stream_fanout=true", "rabbit_transient_quorum_queue=true", "rabbit_qos_prefetch_count=5"},
	"all of them": {
		"rabbit_quorum_queue=true", "rabbit_quorum_delivery_limit=7", "rabbit_stream_fanout=true",
		"rabbit_transient_quorum_queue=true", "rabbit_qos_prefetch_count=5", "rabbit_transient_queues_ttl=600",
	},
}

// With OSLO_MESSAGING, the folder of a checkout of oslo.messaging 18.1.0 or so,
// servers and clients of that version and of ours share a topic with each set.
// Without it the test skips: what 18.1.0 sends was recorded, and package rabbit
// holds ours against that.
func TestNewerPythonBesideGo(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("OSLO_MESSAGING")
	if modules == "" {
		t.Skip("OSLO_MESSAGING is not set: this test wants the folder of a newer oslo.messaging")
	}
	for name, options := range newerOptions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pythonFirst := range []bool{true, false} {
				l := newLab(t)
				l.modules = modules
				l.isNewer()
				l.newerBesideGo(options, pythonFirst)
			}
		})
	}
}

// isNewer makes sure that Python takes oslo.messaging from there.
func (l *lab) isNewer() {
	l.t.Helper()
	cmd := exec.Command(python, "-c", "import oslo_messaging; print(oslo_messaging.__file__)")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+l.modules)
	out, err := cmd.CombinedOutput()
	if where := filepath.Join(l.modules, "oslo_messaging"); err != nil || !strings.HasPrefix(string(out), where) {
		l.t.Fatalf("oslo.messaging is not that of %s: %v: %s", where, err, out)
	}
}

func (l *lab) newerBesideGo(options []string, pythonFirst bool) {
	l.t.Helper()
	exchange := "x" + l.topic
	args := append([]string{l.url, l.topic, "py"}, append(slices.Clone(options), "control_exchange="+exchange)...)
	l.clean(l.topic, l.topic+".py", l.topic+".one", l.topic+".two", l.topic+"_fanout")
	var server *script
	if pythonFirst {
		server = l.start("server.py", args...)
	}
	notes := make(chan string, 8)
	for _, name := range []string{"one", "two"} {
		l.serveNotes(rpc.Target{Exchange: exchange, Topic: l.topic, Server: name}, options, notes)
	}
	if !pythonFirst {
		server = l.start("server.py", args...)
	}
	client := l.start("client.py", append([]string{l.url, l.topic}, args[3:]...)...)
	ours := rpc.NewClient(l.transport(options...), rpc.Target{Exchange: exchange, Topic: l.topic}, rpc.ClientOptions{Timeout: soon})

	wantResult(l.t, client.do(command{Method: "who", Prepare: map[string]any{"server": "one"}}), "one")
	var who string
	py := ours.Prepare(func(to *rpc.Target) { to.Server = "py" })
	if err := py.Call(l.ctx, nil, "who", nil, &who); err != nil || who != "py" {
		l.t.Errorf("%q, %v", who, err)
	}
	fanned := func(by string) {
		l.t.Helper()
		var got []string
		for range 2 {
			select {
			case note := <-notes:
				got = append(got, note)
			case <-time.After(soon):
				l.t.Fatalf("the fanout of %s: waited in vain, got %q", by, got)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{`one"` + by + `"`, `two"` + by + `"`}, got); diff != "" {
			l.t.Error(diff)
		}
		var note map[string]any
		server.read(&note)
		if diff := cmp.Diff(map[string]any{"note": map[string]any{"by": by}, "server": "py"}, note); diff != "" {
			l.t.Error(diff)
		}
	}
	wantResult(l.t, client.do(command{
		Op: "cast", Method: "note", KW: map[string]any{"by": "python"}, Prepare: map[string]any{"fanout": true, "timeout": nil},
	}), nil)
	fanned("python")
	if err := ours.Prepare(func(to *rpc.Target) { to.Fanout = true }).Cast(l.ctx, nil, "note", map[string]any{"by": "go"}); err != nil {
		l.t.Fatal(err)
	}
	fanned("go")
	client.stop()
	server.stop()
}

// serveNotes is a server of ours that tells who it is and which notes it gets.
func (l *lab) serveNotes(target rpc.Target, options []string, notes chan<- string) {
	l.t.Helper()
	server, err := rpc.NewServer(l.transport(options...), target, []rpc.Endpoint{{Version: "1.5", Methods: map[string]rpc.Method{
		"who": {Handler: func(context.Context, *rpc.Request) (any, error) { return target.Server, nil }},
		"note": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			notes <- target.Server + string(r.Args["by"])
			return nil, nil
		}},
	}}}, rpc.ServerOptions{})
	if err == nil {
		err = server.Start(l.ctx)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			l.t.Errorf("Stop: %v", err)
		}
	})
}
