// SPDX-License-Identifier: Apache-2.0

package server

// metadata is the JSON object of the same name in the bank, in the key order of the
// original. karbor: nova_protection_plugin.py
type metadata struct {
	ResourceID string `json:"resource_id"`
	// Attachments are by volume id.
	Attachments map[string]attachment `json:"attach_metadata"`
	Boot        boot                  `json:"boot_metadata"`
	Server      about                 `json:"server_metadata"`
}

// attachment is one as Cinder shows it, with the volume's "bootable" beside it.
type attachment map[string]any

// device is the name of the device at which the volume is attached.
func (a attachment) device() string {
	device, _ := a["device"].(string)
	return device
}

// bootable reports whether the volume could be booted from.
func (a attachment) bootable() bool { return a["bootable"] == "true" || a["bootable"] == true }

// Kinds of devices that a server was booted from.
const (
	bootImage  = "image"
	bootVolume = "volume"
)

type boot struct {
	Device     string     `json:"boot_device_type"`
	ImageID    string     `json:"boot_image_id,omitempty"`
	VolumeID   string     `json:"boot_volume_id,omitempty"`
	Attachment attachment `json:"boot_attach_metadata,omitempty"`
}

// about is the server itself. What comes after SecurityGroups the original neither
// wrote nor reads.
type about struct {
	AvailabilityZone string   `json:"availability_zone"`
	Networks         []string `json:"networks"`
	FloatingIPs      []string `json:"floating_ips"`
	Flavor           string   `json:"flavor"`
	KeyName          *string  `json:"key_name"`
	SecurityGroups   []named  `json:"security_groups"`

	// Interfaces are in the server's own order.
	Interfaces []nic `json:"interfaces,omitempty"`
	// FloatingTargets are the fixed addresses that the floating IPs lead to.
	FloatingTargets map[string]string `json:"floating_ip_targets,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Description     string            `json:"description,omitempty"`
	Tags            []string          `json:"tags,omitempty"`
}

type named struct {
	Name string `json:"name"`
}

// nic is a port of a server, in the words of Neutron.
type nic struct {
	PortID         string    `json:"id"`
	NetworkID      string    `json:"network_id"`
	MAC            string    `json:"mac_address"`
	FixedIPs       []fixedIP `json:"fixed_ips"`
	SecurityGroups []string  `json:"security_groups"`

	chosen bool // NetworkID is the user's choice for a restore
}

type fixedIP struct {
	SubnetID string `json:"subnet_id"`
	Address  string `json:"ip_address"`
}
