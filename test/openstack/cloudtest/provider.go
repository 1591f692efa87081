// SPDX-License-Identifier: Apache-2.0

package cloudtest

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
