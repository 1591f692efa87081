// SPDX-License-Identifier: Apache-2.0

// Package tlsbroker has no code of its own: its tests let peers in Go and Python
// talk over TLS with RabbitMQ nodes that they start themselves, with an authority
// made for the occasion.
package tlsbroker

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// soon is longer than anything that must happen takes.
const soon = 2 * time.Minute

// The users: one is the name in a client's certificate, the other has a password.
const (
	certifiedUser = "karbor"
	passwordUser  = "guest"
	password      = "guest"
)

// node is a running RabbitMQ with one TLS listener.
type node struct {
	port  int
	ended <-chan struct{}
	log   string // file
}

// url is the URL of the node, whose host is "localhost".
func (n node) url(user string) string {
	login := ""
	if user != "" {
		login = user + ":" + password + "@"
	}
	return fmt.Sprintf("rabbit://%slocalhost:%d/", login, n.port)
}

// serverScript skips the test where there is no RabbitMQ to start.
func serverScript(t *testing.T) string {
	t.Helper()
	path := os.Getenv("KARBOR_TEST_RABBITMQ_SERVER")
	if path == "" {
		t.Skip("KARBOR_TEST_RABBITMQ_SERVER is not set: with Debian's rabbitmq-server it is /usr/lib/rabbitmq/bin/rabbitmq-server")
	}
	return path
}

// startNode starts a node of its own folder, port mapper and ports, that shows
// the identity and has the further lines in its configuration. The test ends it.
func startNode(t *testing.T, a *authority, shown identity, lines ...string) node {
	t.Helper()
	script, folder := serverScript(t), t.TempDir()
	ports := freePorts(t, 3)
	n, mapper, distribution := node{port: ports[0], log: filepath.Join(folder, "output")}, ports[1], ports[2]
	settings := append([]string{
		"listeners.tcp = none",
		fmt.Sprintf("listeners.ssl.1 = 127.0.0.1:%d", n.port),
		"ssl_options.cacertfile = " + a.bundle,
		"ssl_options.certfile = " + shown.certificate,
		"ssl_options.keyfile = " + shown.key,
		"auth_mechanisms.1 = EXTERNAL",
		"auth_mechanisms.2 = PLAIN",
		"auth_mechanisms.3 = AMQPLAIN",
		"ssl_cert_login_from = common_name",
		"disk_free_limit.absolute = 50MB",
		"load_definitions = " + file(t, "definitions.json", definitions(t)),
	}, lines...)
	out, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	environment := []string{
		"HOME=" + folder,
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		fmt.Sprintf("RABBITMQ_NODENAME=karbor-tls-%d@localhost", n.port),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", distribution),
		fmt.Sprintf("ERL_EPMD_PORT=%d", mapper),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE=" + strings.TrimSuffix(file(t, "rabbitmq.conf", []byte(strings.Join(settings, "\n")+"\n")), ".conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + file(t, "plugins", []byte("[rabbitmq_auth_mechanism_ssl].\n")),
		"RABBITMQ_MNESIA_BASE=" + folder,
		"RABBITMQ_PID_FILE=" + filepath.Join(folder, "pid"),
		"RABBITMQ_LOGS=-",
		// It must not burn cores while it waits.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
	}
	// The node would leave a port mapper behind; this one ends with the test.
	daemon(t, exec.Command("epmd", "-port", strconv.Itoa(mapper), "-address", "127.0.0.1"), environment, out)
	n.ended = daemon(t, exec.Command(script), environment, out)
	return n
}

// await waits until the node listens.
func (n node) await(t *testing.T) {
	t.Helper()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port))
	for deadline := time.Now().Add(soon); ; time.Sleep(100 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-n.ended:
			t.Fatalf("the node has ended: %s", tail(n.log))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node does not listen: %s", tail(n.log))
		}
	}
}

// daemon starts a process in a group of its own and ends the group with the test.
// The channel is closed when the process has ended.
func daemon(t *testing.T, cmd *exec.Cmd, environment []string, out *os.File) <-chan struct{} {
	t.Helper()
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	return ended
}

// definitions has both users; the one with a certificate has no password.
func definitions(t *testing.T) []byte {
	t.Helper()
	salt := []byte("salt")
	hash := sha256.Sum256(append(bytes.Clone(salt), password...))
	type object map[string]any
	grant := func(user string) object {
		return object{"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
	}
	text, err := json.Marshal(object{
		"users": []object{
			{"name": certifiedUser, "password_hash": "", "tags": ""},
			{
				"name": passwordUser, "tags": "", "hashing_algorithm": "rabbit_password_hashing_sha256",
				"password_hash": base64.StdEncoding.EncodeToString(append(salt, hash[:]...)),
			},
		},
		"vhosts":      []object{{"name": "/"}},
		"permissions": []object{grant(certifiedUser), grant(passwordUser)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// freePorts are ports that nobody listened on a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-3000):]
}
