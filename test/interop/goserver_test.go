// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// buildServer compiles goserver once for all tests.
var buildServer = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "goserver")
	return path, exec.Command("go", "build", "-o", path, "./goserver").Run()
})

// goserver runs the Go server as a process of its own.
func (l *lab) goserver(name string, args ...string) *exec.Cmd {
	l.t.Helper()
	path, err := buildServer()
	if err != nil {
		l.t.Fatalf("building goserver: %v", err)
	}
	cmd := exec.Command(path, append([]string{"--url", l.url, "--topic", l.topic, "--server", name}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.clean(l.topic, l.topic+"."+name)
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		l.t.Fatalf("goserver says %q", lines.Text())
	}
	return cmd
}

func wantResult(t *testing.T, o outcome, want any) {
	t.Helper()
	if o.Error != nil {
		t.Errorf("error is %+v", *o.Error)
		return
	}
	var got any
	if err := json.Unmarshal(o.Result, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChecklist15_PythonClientCallsGoServer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.goserver("host.one")
	c := l.start("client.py", l.url, l.topic)
	ctxt := map[string]any{"user_id": "u", "roles": []any{"a"}}
	wantResult(t, c.do(command{Method: "echo", Context: ctxt, KW: map[string]any{"a": "é☃", "n": nil}}), map[string]any{
		"ctxt": map[string]any{"user_id": "u", "roles": []any{"a"}, "client_timeout": nil},
		"kw":   map[string]any{"a": "é☃", "n": nil},
	})
	big := c.do(command{Method: "echo", KW: map[string]any{"n": json.RawMessage("123456789012345678901234567890")}})
	if want := `{"ctxt": {"client_timeout": null}, "kw": {"n": 123456789012345678901234567890}}`; string(big.Result) != want {
		t.Errorf("big integer: %s", big.Result)
	}
	wantResult(t, c.do(command{Method: "none", Prepare: map[string]any{"server": "host.one"}}), nil)
	wantResult(t, c.do(command{Method: "run", KW: map[string]any{"x": 21}, Prepare: map[string]any{"namespace": "backup", "version": "2.0"}}), 42.0)
	wantResult(t, c.do(command{Method: "oslo_rpc_server_ping"}), "pong")
	for _, prepare := range []map[string]any{{}, {"server": "host.one"}, {"fanout": true}} {
		wantResult(t, c.do(command{Op: "cast", Method: "none", Prepare: withoutTimeout(prepare)}), nil)
	}
	wantResult(t, c.do(command{Method: "slow", KW: map[string]any{"secs": 0.01}}), "done")
}

// withoutTimeout marks casts, which know no timeout.
func withoutTimeout(prepare map[string]any) map[string]any {
	prepare["timeout"] = nil
	return prepare
}

func TestChecklist35_PythonRebuildsFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.goserver("one")
	c := l.start("client.py", l.url, l.topic)
	builtin := c.do(command{Method: "fail", KW: map[string]any{"msg": "bad"}}).Error
	if builtin == nil || builtin.Class != "ValueError" || builtin.Module != "builtins" || builtin.Text != "bad\n" {
		t.Errorf("builtin: %+v", builtin)
	}
	mine := c.do(command{Method: "failmy"}).Error
	if mine == nil || mine.Class != "MyErr_Remote" || mine.Module != "common_Remote" || mine.Code == nil || *mine.Code != 418 || mine.Kwargs["extra"] != "e" {
		t.Errorf("allowed module: %+v", mine)
	}
	for _, row := range []struct {
		command
		class, value string
	}{
		{command{Method: "nosuch"}, "NoSuchMethod", "Endpoint does not support RPC method nosuch"},
		{command{Method: "none", Prepare: map[string]any{"version": "1.6"}}, "UnsupportedVersion", "Endpoint does not support RPC version 1.6. Attempted method: none"},
	} {
		e := c.do(row.command).Error
		if e == nil || e.Class != "RemoteError" || e.ExcType != row.class || e.Value != row.value {
			t.Errorf("%s: %+v", row.class, e)
		}
	}
	wrong := c.do(command{Method: "none", KW: map[string]any{"zzz": 1}}).Error
	if wrong == nil || wrong.Class != "TypeError" || wrong.Text != "none() got an unexpected keyword argument 'zzz'\n" {
		t.Errorf("unknown argument: %+v", wrong)
	}
}

func TestChecklist26_PythonClientHearsHeartbeats(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.goserver("one")
	c := l.start("client.py", l.url, l.topic)
	// Without heartbeats the client would give up after two seconds.
	wantResult(t, c.do(command{Method: "slow", KW: map[string]any{"secs": 3.5}, Prepare: map[string]any{"call_monitor_timeout": 2}}), "done")
	if e := c.do(command{Method: "nosuch", Prepare: map[string]any{"call_monitor_timeout": 2}}).Error; e == nil || e.ExcType != "NoSuchMethod" {
		t.Errorf("%+v", e)
	}
	wantResult(t, c.do(command{Method: "none"}), nil)
}

func TestChecklist16_KilledInTheHandler(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.goserver("one")
	c := l.start("client.py", l.url, l.topic)
	c.send(command{Op: "call", Method: "slow", KW: map[string]any{"secs": 60}, Prepare: map[string]any{"timeout": 5}})
	// Only a running handler keeps this second call's worker from the first one.
	probe := l.start("client.py", l.url, l.topic)
	wantResult(t, probe.do(command{Method: "none"}), nil)
	time.Sleep(200 * time.Millisecond)
	_ = first.Process.Kill()
	l.goserver("two")
	var o outcome
	c.read(&o)
	if o.Error == nil || o.Error.Class != "MessagingTimeout" {
		t.Errorf("%+v", o)
	}
	wantResult(t, probe.do(command{Method: "none"}), nil)
}
