// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// password is the password of every account of the test services.
const password = "password"

// Kind is what a site protects.
type Kind struct {
	// Needs are the variables without which the site cannot be.
	Needs []string
	// file is the provider file that comes with the service, and polling the sections
	// of the plugins in it that wait for services.
	file    string
	polling []string
}

// Kinds of sites.
var (
	Infra = Kind{
		Needs: append([]string{"KARBOR_TEST_NEUTRON", "KARBOR_TEST_NOVA", "KARBOR_TEST_MANILA", "KARBOR_TEST_SHARES"}, volumes...),
		file:  "openstack-infra.conf",
		polling: []string{
			"image_backup_plugin", "cinder_backup_protection_plugin", "nova_backup_protection_plugin", "neutron_backup_protection_plugin",
			"manila_snapshot_plugin",
		},
	}
	Pods = Kind{
		Needs:   volumes,
		file:    "openstack-kubernetes.conf",
		polling: []string{"pod_backup_protection_plugin", "cinder_backup_protection_plugin"},
	}
)

var volumes = []string{
	"RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_KEYSTONE", "KARBOR_TEST_SWIFT", "KARBOR_TEST_GLANCE", "KARBOR_TEST_CINDER",
	"KARBOR_TEST_VOLUMES",
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
