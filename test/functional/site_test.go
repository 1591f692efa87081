// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// ini is the content of a configuration file: options by section.
type ini map[string]map[string]string

func (i ini) set(section, option, value string) {
	if i[section] == nil {
		i[section] = map[string]string{}
	}
	i[section][option] = value
}

func (i ini) String() string {
	var b strings.Builder
	for _, section := range slices.Sorted(maps.Keys(i)) {
		fmt.Fprintf(&b, "[%s]\n", section)
		for _, option := range slices.Sorted(maps.Keys(i[section])) {
			fmt.Fprintf(&b, "%s = %s\n", option, i[section][option])
		}
	}
	return b.String()
}

// site is one installation: the files that an operator writes, and names on the
// broker that nobody else uses.
type site struct {
	t        testing.TB
	dir      string
	exchange string
	topic    string
	conf     ini
	db       *tables // nil: the embedded database
	hosts    map[string]bool
	shown    map[string]bool // hosts whose log the output of the test has
}

// newSite prepares an installation without providers. It needs a broker.
func newSite(t testing.TB) *site {
	t.Helper()
	need(t, "RABBIT_URL")
	// A path of t.TempDir may be too long for a socket.
	dir, err := os.MkdirTemp("", "karbor-site-")
	must(t, err)
	name := "functional-" + uuid.NewString()[:8]
	s := &site{t: t, dir: dir, exchange: name, topic: name + "-topic", conf: ini{}, hosts: map[string]bool{}, shown: map[string]bool{}}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	t.Cleanup(s.sweep)
	must(t, os.Mkdir(s.path("providers.d"), 0o755))
	for option, value := range map[string]string{
		"transport_url":       os.Getenv("RABBIT_URL"),
		"control_exchange":    s.exchange,
		"protection_topic":    s.topic,
		"state_path":          s.path("state"),
		"provider_config_dir": s.path("providers.d"),
		"rpc_ping_enabled":    "true",
		"report_interval":     "1",
	} {
		s.conf.set("DEFAULT", option, value)
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// write writes a file of the installation. A worker that starts meanwhile reads
// the old one or the new one.
func (s *site) write(name, content string) string {
	s.t.Helper()
	path := s.path(name)
	must(s.t, os.WriteFile(path+".new", []byte(content), 0o600))
	must(s.t, os.Rename(path+".new", path))
	return path
}

// provider is one file of providers.d.
type provider struct {
	id   string
	conf ini
}

// addProvider writes a provider file with that bank and plugin.
func (s *site) addProvider(bank, plugin string, options ini) *provider {
	s.t.Helper()
	p := &provider{id: uuid.NewString(), conf: options}
	for option, value := range map[string]string{
		"id": p.id, "name": "functional " + p.id[:8], "description": "of a test", "enabled": "true",
		"bank": bank, "plugin": plugin,
	} {
		p.conf.set("provider", option, value)
	}
	s.writeProvider(p)
	return p
}

func (s *site) writeProvider(p *provider) {
	s.t.Helper()
	s.write("providers.d/"+p.id+".conf", p.conf.String())
}

const (
	noop  = "karbor-noop-protection-plugin"
	image = "karbor-image-protection-plugin"
)

// fsProvider adds a provider with a bank in the folder.
func (s *site) fsProvider(folder, plugin string) *provider {
	return s.addProvider("karbor-fs-bank-plugin", plugin, ini{
		"file_system_bank_plugin": {"file_system_bank_path": folder},
		"image_backup_plugin":     {"poll_interval": "1"},
	})
}

// swiftProvider adds a provider with a bank in the container.
func (s *site) swiftProvider(container, plugin string) *provider {
	options := swiftBank(container)
	options.set("image_backup_plugin", "poll_interval", "1")
	return s.addProvider("karbor-swift-bank-plugin", plugin, options)
}

// swiftBank is a bank in the container.
func swiftBank(container string) ini {
	return ini{
		"swift_client": {
			"swift_auth_url": os.Getenv("KARBOR_TEST_KEYSTONE"), "swift_user": "karbor", "swift_key": password,
			"swift_tenant_name": "service", "swift_user_domain_name": "Default", "swift_project_domain_name": "Default",
			"swift_retry_attempts": "1", "swift_retry_backoff": "1",
		},
		"swift_bank_plugin": {
			"bank_swift_object_container": container,
			"lease_expire_window":         "60", "lease_renew_window": "20", "lease_validity_window": "10",
		},
	}
}

// useCloud lets the service log in, as user karbor.
func (s *site) useCloud() {
	s.t.Helper()
	need(s.t, "KARBOR_TEST_KEYSTONE")
	keystone := os.Getenv("KARBOR_TEST_KEYSTONE")
	s.conf.set("clients_keystone", "auth_uri", strings.TrimSuffix(keystone, "/v3"))
	for option, value := range map[string]string{
		"auth_type": "password", "auth_url": keystone, "username": "karbor", "password": password,
		"user_domain_name": "Default", "project_domain_name": "Default", "project_name": "service",
	} {
		s.conf.set("trustee", option, value)
	}
}

// sweep removes what the workers and clients declared on the broker.
func (s *site) sweep() {
	conn, err := amqp.Dial(strings.Replace(os.Getenv("RABBIT_URL"), "rabbit://", "amqp://", 1))
	if err != nil {
		s.t.Errorf("connect to the broker to clean up: %v", err)
		return
	}
	defer conn.Close()
	s.sweepWith(conn)
}

func (s *site) sweepWith(conn *amqp.Connection) {
	queues := []string{s.topic}
	for host := range s.hosts {
		queues = append(queues, s.topic+"."+host)
	}
	for _, queue := range queues {
		s.onChannel(conn, func(ch *amqp.Channel) error { _, err := ch.QueueDelete(queue, false, false, false); return err })
	}
	for _, exchange := range []string{s.exchange, s.topic + "_fanout"} {
		s.onChannel(conn, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
	}
}

// onChannel does one thing on a channel of its own: an error closes a channel.
func (s *site) onChannel(conn *amqp.Connection, do func(*amqp.Channel) error) {
	ch, err := conn.Channel()
	if err == nil {
		defer ch.Close()
		err = do(ch)
	}
	if err != nil {
		s.t.Errorf("clean up on the broker: %v", err)
	}
}
