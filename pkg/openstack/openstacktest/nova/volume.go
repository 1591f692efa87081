// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

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

func volumeView(v *Volume) map[string]any {
	attachments := []any{}
	if v.ServerID != "" && v.Status == "in-use" {
		attachments = append(attachments, map[string]any{
			"id": v.ID, "attachment_id": "a" + v.ID[1:], "volume_id": v.ID, "server_id": v.ServerID, "host_name": nil, "device": v.Device, "attached_at": "2026-01-02T03:04:05.000000",
		})
	}
	return map[string]any{"id": v.ID, "name": v.Name, "status": v.Status, "bootable": strconv.FormatBool(v.Bootable), "attachments": attachments, "metadata": map[string]string{}}
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
