// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// view returns a server as Nova shows it.
func (c *Cloud) view(s *Server, minor int) map[string]any {
	addresses := map[string][]map[string]any{}
	for _, nic := range c.Nics(s.ID) {
		add := func(kind string, ips []string) {
			for _, ip := range ips {
				version := 4
				if address, err := netip.ParseAddr(ip); err == nil && address.Is6() {
					version = 6
				}
				addresses[nic.Network] = append(addresses[nic.Network], map[string]any{
					"addr": ip, "version": version, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": nic.MAC,
				})
			}
		}
		add("fixed", nic.Fixed)
		add("floating", nic.Floating)
	}
	groups := []map[string]string{}
	for _, name := range s.Groups {
		groups = append(groups, map[string]string{"name": name})
	}
	attached := []map[string]string{}
	for _, v := range c.volumes {
		if v.ServerID == s.ID {
			attached = append(attached, map[string]string{"id": v.ID})
		}
	}
	flavor := map[string]any{"id": s.Flavor, "links": []any{}}
	if minor >= 47 {
		flavor = map[string]any{"original_name": "flavor-" + s.Flavor, "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0, "extra_specs": map[string]string{}}
	}
	shown := map[string]any{
		"id": s.ID, "name": s.Name, "status": s.Status, "flavor": flavor, "image": "", "key_name": nil, "OS-EXT-STS:task_state": nil,
		"addresses": addresses, "metadata": s.Metadata, "security_groups": groups, "progress": 0, "OS-EXT-AZ:availability_zone": s.Zone,
		"os-extended-volumes:volumes_attached": attached, "config_drive": "",
	}
	if c.ConfigDrive {
		shown["config_drive"] = "True"
	}
	if minor >= 19 {
		shown["description"] = s.Name
		if s.Description != "" {
			shown["description"] = s.Description
		}
	}
	if minor >= 9 {
		shown["locked"] = s.Locked
	}
	if minor >= 26 {
		shown["tags"] = append([]string{}, s.Tags...)
	}
	if s.Deleting {
		shown["OS-EXT-STS:task_state"] = "deleting"
	}
	if s.Image != "" {
		shown["image"] = map[string]any{"id": s.Image, "links": []any{}}
	}
	if s.Key != "" {
		shown["key_name"] = s.Key
	}
	if s.Fault != "" {
		shown["fault"] = map[string]any{"message": s.Fault, "code": 500}
	}
	return shown
}

// changeServer sets the description of a server, and tagServer its tags.
// nova: api/openstack/compute/servers.py update, server_tags.py update_all
func (c *Cloud) changeServer(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Server struct {
			Description string `json:"description"`
		} `json:"server"`
	}
	c.put(w, r, 19, &body, func(s *Server) { s.Description = body.Server.Description })
}

func (c *Cloud) tagServer(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Tags []string `json:"tags"`
	}
	c.put(w, r, 26, &body, func(s *Server) { s.Tags = body.Tags })
}

func (c *Cloud) put(w http.ResponseWriter, r *http.Request, since int, body any, change func(*Server)) {
	s := c.wanted(w, r)
	switch {
	case s == nil: // and said so
	case openstacktest.Minor(r) < since || json.NewDecoder(r.Body).Decode(body) != nil:
		refuse(w, http.StatusBadRequest, "Invalid input")
	default:
		change(s)
		answer(w, http.StatusOK, map[string]any{})
	}
}

func (c *Cloud) showFlavor(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !slices.Contains(c.Flavors, id) {
		refuse(w, http.StatusNotFound, "Flavor %s could not be found.", id)
		return
	}
	answer(w, http.StatusOK, map[string]any{"flavor": map[string]any{"id": id, "name": "flavor-" + id, "OS-FLV-EXT-DATA:ephemeral": c.Ephemeral}})
}

func (c *Cloud) listServers(w http.ResponseWriter, r *http.Request) {
	page, body := []map[string]any{}, map[string]any{}
	marker := r.URL.Query().Get("marker")
	begun := marker == ""
	for _, s := range slices.Backward(slices.Clone(c.servers)) { // the newest first
		switch {
		case !begun:
			begun = s.ID == marker
		case len(page) == c.PageSize:
			body["servers_links"] = []any{map[string]any{"rel": "next", "href": "http://elsewhere/servers/detail?marker=" + page[len(page)-1]["id"].(string)}}
			body["servers"] = page
			answer(w, http.StatusOK, body)
			return
		default:
			if c.look(s.ID); c.server(s.ID) != nil {
				page = append(page, c.view(s, openstacktest.Minor(r)))
			}
		}
	}
	body["servers"] = page
	answer(w, http.StatusOK, body)
}

// wanted finds the server of a path, or answers that the server does not exist.
func (c *Cloud) wanted(w http.ResponseWriter, r *http.Request) *Server {
	s := c.server(r.PathValue("id"))
	if s == nil {
		refuse(w, http.StatusNotFound, "Instance %s could not be found.", r.PathValue("id"))
	}
	return s
}

func (c *Cloud) showServer(w http.ResponseWriter, r *http.Request) {
	c.look(r.PathValue("id"))
	if s := c.wanted(w, r); s != nil {
		answer(w, http.StatusOK, map[string]any{"server": c.view(s, openstacktest.Minor(r))})
	}
}

func (c *Cloud) deleteServer(w http.ResponseWriter, r *http.Request) {
	s := c.wanted(w, r)
	if s == nil {
		return
	}
	if !s.Deleting {
		s.Deleting = true
		c.jobs = slices.DeleteFunc(c.jobs, func(j *job) bool { return j.id == s.ID })
		c.start(s.ID, func() { c.gone(s) })
	}
	w.WriteHeader(http.StatusNoContent)
}

// request is the body of a request to create a server.
type request struct {
	Name     string            `json:"name"`
	Flavor   string            `json:"flavorRef"`
	Image    string            `json:"imageRef"`
	Key      string            `json:"key_name"`
	Zone     string            `json:"availability_zone"`
	Metadata map[string]string `json:"metadata"`
	Groups   []struct {
		Name string `json:"name"`
	} `json:"security_groups"`
	Networks json.RawMessage `json:"networks"`
	Devices  []struct {
		UUID        string `json:"uuid"`
		Source      string `json:"source_type"`
		Destination string `json:"destination_type"`
		Index       int    `json:"boot_index"`
	} `json:"block_device_mapping_v2"`
}

func (c *Cloud) createServer(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Server request `json:"server"`
	}
	decoder := json.NewDecoder(r.Body)
	if err := decoder.Decode(&body); err != nil || body.Server.Name == "" {
		refuse(w, http.StatusBadRequest, "Invalid input for field/attribute server. %v", err)
		return
	}
	q := body.Server
	root, minor := c.rootOf(q), openstacktest.Minor(r)
	switch {
	case minor >= 37 && q.Networks == nil:
		refuse(w, http.StatusBadRequest, "Invalid input for field/attribute server. Value: {}. 'networks' is a required property")
		return
	case root != nil && root.Multiattach && minor < multiattachMinor:
		refuse(w, http.StatusBadRequest, oldForMultiattach)
		return
	case !slices.Contains(c.Flavors, q.Flavor):
		refuse(w, http.StatusBadRequest, "Flavor %s could not be found.", q.Flavor)
		return
	case q.Image != "" && !slices.Contains(c.Images, q.Image):
		refuse(w, http.StatusBadRequest, "Image %s could not be found.", q.Image)
		return
	case q.Image == "" && root == nil:
		refuse(w, http.StatusBadRequest, "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.")
		return
	case root != nil && !root.Bootable:
		refuse(w, http.StatusBadRequest, "Block Device %s is not bootable.", root.ID)
		return
	case root != nil && root.Status != "available":
		refuse(w, http.StatusBadRequest, "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'", root.ID, root.Status)
		return
	case q.Key != "" && !slices.Contains(c.KeyPairs, q.Key):
		refuse(w, http.StatusBadRequest, "Invalid key_name provided.")
		return
	case q.Zone != "" && !slices.Contains(c.Zones, q.Zone):
		refuse(w, http.StatusBadRequest, "The requested availability zone is not available")
		return
	}
	s := &Server{ID: c.newID(), Name: q.Name, Status: "BUILD", Flavor: q.Flavor, Image: q.Image, Key: q.Key, Zone: q.Zone, Metadata: q.Metadata}
	if err := c.network(s, q); err != nil {
		for _, id := range s.made {
			c.Release(id, true)
		}
		for _, id := range s.kept {
			c.Release(id, false)
		}
		refuse(w, http.StatusBadRequest, "%s", err)
		return
	}
	if root != nil {
		root.Status, root.ServerID, root.Device, s.root = "reserved", s.ID, "/dev/vda", root.ID
	}
	c.servers = append(c.servers, s)
	c.start(s.ID, func() {
		if c.Fault != "" {
			s.Status, s.Fault = "ERROR", c.Fault
			return
		}
		s.Status = "ACTIVE"
		if root != nil {
			root.Status = "in-use"
		}
	})
	answer(w, http.StatusAccepted, map[string]any{"server": map[string]any{"id": s.ID, "links": []any{}}})
}

func (c *Cloud) rootOf(q request) *Volume {
	for _, d := range q.Devices {
		if d.Index == 0 && d.Source == "volume" && d.Destination == "volume" {
			return c.volume(d.UUID)
		}
	}
	return nil
}

// network gives a server its ports. Security groups apply to the ports that it creates.
func (c *Cloud) network(s *Server, q request) error {
	groups := []any{}
	for _, g := range q.Groups {
		id, err := c.GroupID(g.Name)
		if err != nil {
			return err
		}
		groups = append(groups, id)
		s.Groups = append(s.Groups, g.Name)
	}
	var cards []struct {
		UUID    string `json:"uuid"`
		FixedIP string `json:"fixed_ip"`
		Port    string `json:"port"`
	}
	if q.Networks != nil && string(q.Networks) != `"none"` {
		if err := json.Unmarshal(q.Networks, &cards); err != nil {
			return err
		}
	}
	for _, n := range cards {
		if n.Port != "" {
			if err := c.Bind(n.Port, s.ID); err != nil {
				return err
			}
			s.kept = append(s.kept, n.Port)
			continue
		}
		port, err := c.PortFor(s.ID, n.UUID, n.FixedIP, groups)
		if err != nil {
			return err
		}
		s.made = append(s.made, port.ID())
	}
	return nil
}

func (c *Cloud) showKeyPair(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !slices.Contains(c.KeyPairs, name) {
		refuse(w, http.StatusNotFound, "Keypair %s not found for user user", name)
		return
	}
	answer(w, http.StatusOK, map[string]any{"keypair": map[string]any{"name": name}})
}

func (c *Cloud) listZones(w http.ResponseWriter, _ *http.Request) {
	zones := []any{}
	for _, name := range c.Zones {
		zones = append(zones, map[string]any{"zoneName": name, "zoneState": map[string]bool{"available": true}, "hosts": nil})
	}
	answer(w, http.StatusOK, map[string]any{"availabilityZoneInfo": zones})
}

func (c *Cloud) listAttachments(w http.ResponseWriter, r *http.Request) {
	s := c.wanted(w, r)
	if s == nil {
		return
	}
	attached := []any{}
	for _, v := range c.volumes {
		if v.ServerID == s.ID {
			attached = append(attached, map[string]any{"id": v.ID, "volumeId": v.ID, "serverId": s.ID, "device": v.Device})
		}
	}
	answer(w, http.StatusOK, map[string]any{"volumeAttachments": attached})
}

func (c *Cloud) attach(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Attachment struct {
			VolumeID string `json:"volumeId"`
			Device   string `json:"device"`
		} `json:"volumeAttachment"`
	}
	s := c.wanted(w, r)
	if s == nil {
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	v, device := c.volume(body.Attachment.VolumeID), body.Attachment.Device
	taken := func(device string) bool {
		return slices.ContainsFunc(c.volumes, func(v *Volume) bool { return v.ServerID == s.ID && v.Device == device }) || s.Image != "" && device == "/dev/vda"
	}
	switch {
	case s.Status != "ACTIVE":
		refuse(w, http.StatusConflict, "Cannot 'attach_volume' instance %s while it is in vm_state building", s.ID)
		return
	case v == nil:
		refuse(w, http.StatusNotFound, "Volume %s could not be found.", body.Attachment.VolumeID)
		return
	case v.Multiattach && openstacktest.Minor(r) < multiattachMinor:
		refuse(w, http.StatusBadRequest, oldForMultiattach)
		return
	case v.Status != "available":
		refuse(w, http.StatusBadRequest, "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'", v.ID, v.Status)
		return
	case device != "" && taken(device):
		refuse(w, http.StatusBadRequest, "The supplied device path (%s) is in use.", device)
		return
	}
	for letter := 'b'; device == ""; letter++ {
		if free := "/dev/vd" + string(letter); !taken(free) {
			device = free
		}
	}
	v.Status, v.ServerID, v.Device = "reserved", s.ID, device
	c.start(v.ID, func() {
		if c.Unattached {
			v.Status, v.ServerID, v.Device = "available", "", ""
		} else if v.ServerID == s.ID {
			v.Status = "in-use"
		}
	})
	answer(w, http.StatusOK, map[string]any{"volumeAttachment": map[string]any{"id": v.ID, "volumeId": v.ID, "serverId": s.ID, "device": device}})
}

// nova: exception.py MultiattachNotSupportedOldMicroversion
const (
	multiattachMinor  = 60
	oldForMultiattach = "Multiattach volumes are only supported starting with compute API version 2.60."
)

func volumeView(v *Volume) map[string]any {
	attachments := []any{}
	if v.ServerID != "" && v.Status == "in-use" {
		attachments = append(attachments, map[string]any{
			"id": v.ID, "attachment_id": "a" + v.ID[1:], "volume_id": v.ID, "server_id": v.ServerID, "host_name": nil, "device": v.Device, "attached_at": "2026-01-02T03:04:05.000000",
		})
	}
	return map[string]any{"id": v.ID, "name": v.Name, "status": v.Status, "bootable": strconv.FormatBool(v.Bootable), "multiattach": v.Multiattach, "attachments": attachments, "metadata": map[string]string{}}
}

func (c *Cloud) listVolumes(w http.ResponseWriter, _ *http.Request) {
	page := []any{}
	for _, v := range slices.Backward(c.volumes) {
		c.look(v.ID)
		page = append(page, volumeView(v))
	}
	answer(w, http.StatusOK, map[string]any{"volumes": page})
}

func (c *Cloud) showVolume(w http.ResponseWriter, r *http.Request) {
	c.look(r.PathValue("id"))
	v := c.volume(r.PathValue("id"))
	if v == nil {
		refuse(w, http.StatusNotFound, "Volume %s could not be found.", r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, map[string]any{"volume": volumeView(v)})
}

// actOnVolume knows the one action that makes a volume bootable.
func (c *Cloud) actOnVolume(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Set *struct {
			Bootable bool `json:"bootable"`
		} `json:"os-set_bootable"`
	}
	v := c.volume(r.PathValue("id"))
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || v == nil || body.Set == nil {
		refuse(w, http.StatusBadRequest, "There is no such action")
		return
	}
	v.Bootable = body.Set.Bootable
	w.WriteHeader(http.StatusOK)
}
