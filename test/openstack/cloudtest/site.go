// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"database/sql"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Site is one installation of the service: the files that an operator writes,
// tables, a bank, and names on the broker that nobody else uses.
type Site struct {
	// Conf is the main configuration file. Workers read it when they start.
	Conf Conf
	// Provider is the id of the provider, which is that of the file that comes with
	// the service, and Container is its bank's.
	Provider  string
	Container string

	t               testing.TB
	kind            Kind
	dir             string
	exchange, topic string
	bank            *openstacktest.RealProject
	hosts           map[string]bool
}

// New prepares a site for a whole cloud. Its tables are there, and no worker yet.
func New(t testing.TB) *Site {
	t.Helper()
	return NewFor(t, Infra)
}

// NewFor prepares a site of another kind.
func NewFor(t testing.TB, kind Kind) *Site {
	t.Helper()
	for _, name := range kind.Needs {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: tools/openstack/up starts the services and prints it", name)
		}
	}
	// A path of t.TempDir may be too long for a socket.
	dir, err := os.MkdirTemp("", "karbor-site-")
	must(t, err)
	name := "cloud-" + uuid.NewString()[:8]
	s := &Site{t: t, kind: kind, dir: dir, exchange: name, topic: name + "-topic", Container: name, Conf: Conf{}, hosts: map[string]bool{}}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	s.bank = openstacktest.RealService(t)
	t.Cleanup(func() { s.bank.RemoveContainer(s.Container) })
	s.configure()
	s.WriteProvider(nil)
	t.Cleanup(s.sweep)
	conf := s.write("karbor.conf", s.Conf.String())
	if out, err := exec.Command(build(t, Service), "--db-sync", "--config-file", conf).CombinedOutput(); err != nil {
		t.Fatalf("--db-sync: %v\n%s", err, out)
	}
	return s
}

func (s *Site) configure() {
	keystone := os.Getenv("KARBOR_TEST_KEYSTONE")
	for option, value := range map[string]string{
		"transport_url": os.Getenv("RABBIT_URL"), "control_exchange": s.exchange, "protection_topic": s.topic,
		"state_path": s.path("state"), "provider_config_dir": s.path("providers.d"),
		"report_interval": "1", "rpc_response_timeout": "300",
	} {
		s.Conf.Set("DEFAULT", option, value)
	}
	s.Conf.Set("database", "connection", s.database())
	s.Conf.Set("clients_keystone", "auth_uri", strings.TrimSuffix(keystone, "/v3"))
	for option, value := range map[string]string{
		"auth_type": "password", "auth_url": keystone, "username": "karbor", "password": password,
		"user_domain_name": "Default", "project_domain_name": "Default", "project_name": "service",
	} {
		s.Conf.Set("trustee", option, value)
	}
}

// database makes one and returns its URL.
func (s *Site) database() string {
	s.t.Helper()
	u, err := url.Parse(os.Getenv("KARBOR_TEST_MYSQL"))
	must(s.t, err)
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User = "tcp", u.Host, u.User.Username()
	c.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(c)
	must(s.t, err)
	db := sql.OpenDB(connector)
	name := "cloud_" + uuid.NewString()[:8]
	_, err = db.Exec("CREATE DATABASE " + name + " CHARACTER SET utf8mb3")
	must(s.t, err)
	s.t.Cleanup(func() {
		_, err := db.Exec("DROP DATABASE " + name)
		must(s.t, err)
		must(s.t, db.Close())
	})
	u.Path = "/" + name
	return u.String()
}

func (s *Site) path(name string) string { return filepath.Join(s.dir, name) }

// write writes a file of the site. A worker that starts meanwhile reads the old
// one or the new one.
func (s *Site) write(name, content string) string {
	s.t.Helper()
	path := s.path(name)
	must(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(s.t, os.WriteFile(path+".new", []byte(content), 0o600))
	must(s.t, os.Rename(path+".new", path))
	return path
}

// sweep removes what workers and clients declared on the broker.
func (s *Site) sweep() {
	conn, err := amqp.Dial(strings.Replace(os.Getenv("RABBIT_URL"), "rabbit://", "amqp://", 1))
	must(s.t, err)
	defer conn.Close()
	channel, err := conn.Channel()
	must(s.t, err)
	queues := []string{s.topic}
	for host := range s.hosts {
		queues = append(queues, s.topic+"."+host)
	}
	for _, queue := range queues {
		_, err := channel.QueueDelete(queue, false, false, false)
		must(s.t, err)
	}
	for _, exchange := range []string{s.exchange, s.topic + "_fanout"} {
		must(s.t, channel.ExchangeDelete(exchange, false, false))
	}
}

// Objects returns the names of the bank's objects.
func (s *Site) Objects() []string {
	s.t.Helper()
	return s.bank.Objects(s.Container)
}

// CheckPurged wants nothing of a deleted checkpoint in the bank but what tells
// that it was there.
func (s *Site) CheckPurged(checkpoint string) {
	s.t.Helper()
	// A listing may be a moment behind the objects.
	Await(s.t, "the bank to have no data of checkpoint "+checkpoint, func() (bool, any) {
		var left []string
		for _, name := range s.Objects() {
			if strings.Contains(name, checkpoint) && !strings.HasSuffix(name, "/index.json") && !strings.HasSuffix(name, "/status") {
				left = append(left, name)
			}
		}
		return len(left) == 0, left
	})
}

// Client connects a project to the site.
func (s *Site) Client(p *openstacktest.RealProject) *Client {
	s.t.Helper()
	connection, err := client.Open(client.Options{ConfigFiles: []string{s.write("client.conf", s.Conf.String())}})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, connection.Close()) })
	must(s.t, connection.As(p.Caller, time.Now()))
	return &Client{t: s.t, project: p, Provider: s.Provider, connection: connection}
}

// WriteProvider writes the provider file: the one that comes with the service,
// filled in for this cloud, with more options if there are any.
func (s *Site) WriteProvider(more Conf) {
	s.t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../etc/providers.d", s.kind.file))
	must(s.t, err)
	c := Conf{
		"provider":          {"enabled": "True"},
		"swift_client":      {"swift_auth_url": os.Getenv("KARBOR_TEST_KEYSTONE"), "swift_key": password},
		"swift_bank_plugin": {"bank_swift_object_container": s.Container},
	}
	for _, section := range s.kind.polling {
		c.Set(section, "poll_interval", "1")
	}
	for section, options := range more {
		for option, value := range options {
			c.Set(section, option, value)
		}
	}
	// What the sample leaves out for Python workers is tested, too.
	text = []byte(strings.ReplaceAll(string(text), "\n# plugin = ", "\nplugin = "))
	lines := strings.Split(string(text), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "id = ") })
	s.Provider = strings.TrimPrefix(lines[at], "id = ")
	s.write("providers.d/"+s.kind.file, c.edited(string(text)))
}

// Start starts a worker and waits until it serves.
func (s *Site) Start(host string) *Worker {
	s.t.Helper()
	return s.StartAs(Service, host)
}

// StartAs starts another program, named by its import path, as a worker, with
// more in its environment, and waits until it serves.
func (s *Site) StartAs(program, host string, env ...string) *Worker {
	s.t.Helper()
	s.hosts[host] = true
	w := &Worker{Host: host, t: s.t, log: s.path(host + ".log"), ready: make(chan struct{}), ended: make(chan struct{})}
	common := s.write("karbor.conf", s.Conf.String())
	own := s.write(host+".conf", Conf{"DEFAULT": {"host": host, "log_file": w.log}}.String())
	w.cmd = exec.Command(build(s.t, program), "--config-file", common, "--config-file", own)
	w.cmd.Dir, w.cmd.Stderr = s.dir, &w.stderr
	w.cmd.Env = append(append(os.Environ(), "NOTIFY_SOCKET="+w.listen(s.path(host+".notify"))), env...)
	must(s.t, w.cmd.Start())
	go func() {
		_ = w.cmd.Wait() // the exit code is in ProcessState
		close(w.ended)
	}()
	s.t.Cleanup(w.cleanUp)
	select {
	case <-w.ready:
	case <-w.ended:
		s.t.Fatalf("worker %s ended before it served:\n%s", host, w.stderr.String())
	case <-time.After(patience):
		s.t.Fatalf("worker %s does not serve", host)
	}
	return w
}
