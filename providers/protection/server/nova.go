// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// server has the fields that are read of a server. nova: api-ref/source/servers.inc, 2.1
type server struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Task     string            `json:"OS-EXT-STS:task_state"` // null reads as ""
	Progress int               `json:"progress"`              // percent
	Metadata map[string]string `json:"metadata"`
	KeyName  *string           `json:"key_name"`
	Zone     string            `json:"OS-EXT-AZ:availability_zone"`
	Groups   []named           `json:"security_groups"`
	Networks addresses         `json:"addresses"`
	Image    imageRef          `json:"image"`
	Flavor   struct {
		ID string `json:"id"`
	} `json:"flavor"`
	Attached []struct {
		ID string `json:"id"`
	} `json:"os-extended-volumes:volumes_attached"`
	Fault struct {
		Message string `json:"message"`
	} `json:"fault"`
	ConfigDrive string `json:"config_drive"` // "True", or ""

	// Shown withTags.
	Name        string   `json:"name"`
	Description *string  `json:"description"` // the name, if none was given
	Tags        []string `json:"tags"`
	Locked      bool     `json:"locked"`
}

// Microversions of calls whose form depends on them.
// nova: api/openstack/compute/rest_api_version_history.rst
const (
	withTags        = "2.26" // a server shows its tags, from 2.19 its description, and from 2.9 whether it is locked
	withFlavorID    = "2.1"  // until 2.46 a server shows the id of its flavor
	withoutNetworks = "2.37" // a server can be made without network cards
	withMultiattach = "2.60" // a volume with multiattach can be attached
)

// imageRef is the id of the image that a server was booted from. Nova shows an
// object, or "" if it was booted from a volume.
type imageRef string

// UnmarshalJSON reads both.
func (i *imageRef) UnmarshalJSON(text []byte) error {
	*i = ""
	if !bytes.HasPrefix(text, []byte("{")) {
		return nil
	}
	var object struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(text, &object)
	*i = imageRef(object.ID)
	return err
}

// addresses are all of a server's in Nova's order, which is by network and in each
// by port.
type addresses []address

type address struct {
	Address string `json:"addr"`
	Kind    string `json:"OS-EXT-IPS:type"` // "fixed" or "floating"
	MAC     string `json:"OS-EXT-IPS-MAC:mac_addr"`
}

// UnmarshalJSON reads an object whose members' order counts.
func (a *addresses) UnmarshalJSON(text []byte) error {
	*a = nil
	decoder := json.NewDecoder(bytes.NewReader(text))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return err
	}
	for decoder.More() {
		if _, err := decoder.Token(); err != nil { // the network's name
			return err
		}
		var some []address
		if err := decoder.Decode(&some); err != nil {
			return err
		}
		*a = append(*a, some...)
	}
	return nil
}

// deleting is the status of a server that is on its way out, in place of what it was
// before. One whose deletion failed has no task and is in ERROR.
const deleting = "DELETING"

// status returns the status of a server without the task that old versions of Nova append.
func (s *server) status() string {
	if s.Task == "deleting" || s.Task == "soft-deleting" {
		return deleting
	}
	text, _, _ := strings.Cut(s.Status, "(")
	return strings.TrimSpace(text)
}

// Statuses that one waits for: of a new server, and of one that is deleted. Where
// deletions are put off a server stays as SOFT_DELETED.
// nova: api/openstack/common.py, karbor: nova_protection_plugin.py
var (
	up = poll.Statuses{
		Success: []string{"ACTIVE"},
		Failure: []string{"ERROR", "DELETED", "SOFT_DELETED", poll.NotFound},
		Ignore: []string{
			"BUILD", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD", "RESCUE", "RESIZE", "REVERT_RESIZE",
			"SHUTOFF", "SUSPENDED", "UNKNOWN", "VERIFY_RESIZE",
		},
	}
	gone = poll.Statuses{Success: []string{poll.NotFound, "DELETED", "SOFT_DELETED"}, Failure: []string{"ERROR"}, IgnoreUnexpected: true}
)

// cloud is what a server is made of, as one caller sees it.
type cloud struct {
	plugin  *Plugin
	nova    *gophercloud.ServiceClient
	neutron *gophercloud.ServiceClient
	cinder  *remote.Service
	project string
}

// shown returns a server with as much as Nova shows of it beside the id of its flavor.
func (c *cloud) shown(ctx context.Context, id string) (*server, error) {
	found, err := openstack.Show[server](ctx, openstack.WithMicroversion(c.nova, withTags), "servers", id, "server")
	if gophercloud.ResponseCodeIs(err, http.StatusNotAcceptable) { // a Nova of 2016
		return openstack.Show[server](ctx, openstack.WithMicroversion(c.nova, withFlavorID), "servers", id, "server")
	}
	return found, err
}

// await waits for a server, with one listing for all that are waited for.
func (c *cloud) await(ctx context.Context, id string, statuses poll.Statuses, report func(int)) error {
	err := c.plugin.polls.Until(ctx, poll.Key{Service: "nova", Project: c.project, Kind: "servers"}, poll.Wait{
		ID: id, Statuses: statuses, Options: c.plugin.poll, Source: source{c.nova}, Report: report,
	})
	if err != nil {
		return fmt.Errorf("wait for server %s: %w", id, err)
	}
	return nil
}

// source looks at servers.
type source struct{ nova *gophercloud.ServiceClient }

var _ poll.Source = source{}

// Page implements poll.Source. Nova lists the newest first.
func (s source) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	servers, next, err := openstack.Page[server](ctx, s.nova, "servers/detail", "servers", marker)
	page := make(map[string]poll.Status, len(servers))
	for i := range servers {
		page[servers[i].ID] = poll.Status{Text: servers[i].status(), Percent: servers[i].Progress}
	}
	return page, next, err
}

// Show implements poll.Source.
func (s source) Show(ctx context.Context, id string) (poll.Status, error) {
	found, err := openstack.Show[server](ctx, s.nova, "servers", id, "server")
	if openstack.IsNotFound(err) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return poll.Status{Text: found.status(), Percent: found.Progress}, nil
}

// port is a port of Neutron's.
type port = nic

// floatingIP is a floating IP of Neutron.
type floatingIP struct {
	ID      string  `json:"id"`
	Address string  `json:"floating_ip_address"`
	PortID  *string `json:"port_id"`
	Fixed   *string `json:"fixed_ip_address"`
}

// ports returns the ports of a device.
func (c *cloud) ports(ctx context.Context, deviceID string) ([]port, error) {
	return openstack.List[port](ctx, c.neutron, "ports", "ports", url.Values{"device_id": {deviceID}})
}

// floatingIPs returns those with a property, "port_id" or "floating_ip_address".
func (c *cloud) floatingIPs(ctx context.Context, property, value string) ([]floatingIP, error) {
	return openstack.List[floatingIP](ctx, c.neutron, "floatingips", "floatingips", url.Values{property: {value}})
}

// changeNeutron changes attributes of something of Neutron's.
func (c *cloud) changeNeutron(ctx context.Context, collection, member, id string, body map[string]any) error {
	_, err := c.neutron.Put(ctx, c.neutron.ServiceURL(collection, url.PathEscape(id)), map[string]any{member: body}, nil, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK},
	})
	if err != nil {
		return fmt.Errorf("change %s %s: %w", member, id, err)
	}
	return nil
}

// refused tells answers that say that something cannot be, and not that the
// service is in trouble.
func refused(err error) bool {
	for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict} {
		if gophercloud.ResponseCodeIs(err, code) {
			return true
		}
	}
	return false
}

// with returns the metadata of a server and marks.
func with(own, marks map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, own)
	maps.Copy(all, marks)
	return all
}
