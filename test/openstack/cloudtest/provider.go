// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// password is that of every account of the test services.
const password = "password"

// shipped is the provider file that comes with the service.
const shipped = "etc/providers.d/openstack-infra.conf"

// sections are those of the plugins that wait for services.
var sections = []string{
	"image_backup_plugin", "cinder_backup_protection_plugin", "nova_backup_protection_plugin", "neutron_backup_protection_plugin",
	"manila_snapshot_plugin",
}

// WriteProvider writes the provider file: the one that comes with the service,
// filled in for this cloud, with more options if there are any.
func (s *Site) WriteProvider(more Conf) {
	s.t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../..", shipped))
	must(s.t, err)
	c := Conf{
		"provider":          {"enabled": "True"},
		"swift_client":      {"swift_auth_url": os.Getenv("KARBOR_TEST_KEYSTONE"), "swift_key": password},
		"swift_bank_plugin": {"bank_swift_object_container": s.Container},
	}
	for _, section := range sections {
		c.Set(section, "poll_interval", "1")
	}
	for section, options := range more {
		for option, value := range options {
			c.Set(section, option, value)
		}
	}
	lines := strings.Split(string(text), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "id = ") })
	s.Provider = strings.TrimPrefix(lines[at], "id = ")
	s.write("providers.d/openstack-infra.conf", c.edited(string(text)))
}
