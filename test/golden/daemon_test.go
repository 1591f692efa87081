// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/database"
)

// daemonVariable makes the test binary the service: TestMain runs that instead
// of tests. So the tests need no program that was built before.
const daemonVariable = "KARBOR_TEST_GOLDEN_DAEMON"

// host is the name of the node on which the calls were recorded.
const host = "refhost"

// patience bounds everything that must happen sooner or later.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(daemonVariable) != "" {
		os.Exit(service.Main("golden", os.Args[1:], setup(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// daemon is a running service with a broker, a bank and a database of its own.
type daemon struct {
	*wire
	dir      string
	bankPath string // of the container that the providers share
	db       *database.DB
	cmd      *exec.Cmd
}

// daemonConfig changes what startDaemon would configure.
type daemonConfig struct {
	providers map[string]string // provider files by name; nil: those of the recording
	sections  string            // appended to karbor.conf
}

// startDaemon runs a service until the test ends.
func startDaemon(t *testing.T, c daemonConfig) *daemon {
	t.Helper()
	url := os.Getenv("RABBIT_URL")
	if url == "" {
		t.Skip("RABBIT_URL names no RabbitMQ, such as rabbit://guest:guest@127.0.0.1:5672/")
	}
	dir := t.TempDir()
	name := "golden-" + uuid.NewString()[:8]
	d := &daemon{dir: dir, bankPath: filepath.Join(dir, "bank", "karbor")}
	d.wire = dial(t, url, name+"-exchange", name)
	d.openDatabase(t)
	if c.providers == nil {
		c.providers = recordedProviders(dir)
	}
	for file, text := range c.providers {
		d.write(t, filepath.Join("providers.d", file), text)
	}
	d.write(t, "karbor.conf", fmt.Sprintf(`[DEFAULT]
host = %s
debug = true
log_file = %s
transport_url = %s
control_exchange = %s
protection_topic = %s
state_path = %s
provider_config_dir = %s
graceful_shutdown_timeout = 1
report_interval = 0
[database]
connection = %s
[oslo_messaging_rabbit]
rabbit_transient_queues_ttl = 60
%s
`, host, d.path("log"), url, d.exchange, d.topic, dir, d.path("providers.d"), d.databaseURL(), c.sections))
	d.run(t)
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d *daemon) databaseURL() string { return "sqlite:///" + d.path("karbor.sqlite") }

func (d *daemon) write(t *testing.T, name, text string) {
	t.Helper()
	path := d.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run starts the process and waits until it says, as to systemd, that it serves.
func (d *daemon) run(t *testing.T) {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	d.cmd = exec.Command(os.Args[0], "--config-file", d.path("karbor.conf"))
	d.cmd.Env = append(os.Environ(), daemonVariable+"=1", "NOTIFY_SOCKET="+d.path("notify"))
	var stderr strings.Builder
	d.cmd.Stderr = &stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop(t)
		if t.Failed() {
			log, _ := os.ReadFile(d.path("log"))
			t.Logf("%s\n%s", stderr.String(), tail(string(log), 60))
		}
	})
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	message := make([]byte, 4096)
	for {
		n, err := socket.Read(message)
		if err != nil {
			t.Fatalf("the service does not start: %v\n%s", err, stderr.String())
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			return
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the process as systemd would, and not so if that takes too long.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the service ends with %v", err)
	}
}

// log returns what the service has logged.
func (d *daemon) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (d *daemon) openDatabase(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	var err error
	if d.db, err = database.Open(ctx, d.databaseURL(), database.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() })
	if err := d.db.Sync(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until check has nothing to object to.
func eventually(check func() string) string {
	deadline := time.Now().Add(patience)
	for {
		objection := check()
		if objection == "" || time.Now().After(deadline) {
			return objection
		}
		time.Sleep(10 * time.Millisecond)
	}
}
