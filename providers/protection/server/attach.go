// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// attached are the statuses of a volume that is attached. It is reserved before
// Nova answers; one that is available again could not be attached.
// cinder: objects/fields.py
var attached = poll.Statuses{
	Success: []string{"in-use"},
	Failure: []string{"available", "error", "error_attaching", "deleting", "error_deleting", poll.NotFound},
	Ignore:  []string{"attaching", "reserved"},
}

const notAttached = "Attach the volume to server failed"

// attachVolumes attaches all volumes but the one that the server was booted from,
// one after the other in the order of their devices.
func (r *run) attachVolumes(ctx context.Context) error {
	order := slices.DeleteFunc(byDevice(r.about.Attachments), func(id string) bool {
		return r.about.Boot.Device == bootVolume && id == r.about.Boot.VolumeID
	})
	if len(order) == 0 {
		return nil
	}
	server := url.PathEscape(r.state.ServerID)
	now, err := openstack.List[struct {
		VolumeID string `json:"volumeId"`
	}](ctx, r.nova, "servers/"+server+"/os-volume_attachments", "volumeAttachments", nil)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, a := range now {
		there[a.VolumeID] = true
	}
	for i, original := range order {
		id, err := r.new("volume", original)
		if err != nil {
			return err
		}
		if !there[id] {
			if err := r.attach(ctx, id, r.about.Attachments[original].device()); err != nil {
				return err
			}
		}
		if err := hook.Instead(notAttached, r.cinder.Await(ctx, volume.Volumes, id, attached, nil)); err != nil {
			return err
		}
		r.call.Report(90 + (i+1)*9/len(order))
	}
	return nil
}

// attach attaches a volume, at its device if that is free.
func (r *run) attach(ctx context.Context, id, device string) error {
	body := map[string]any{"volumeId": id}
	if device != "" {
		body["device"] = device
	}
	nova := openstack.WithMicroversion(r.nova, withMultiattach)
	ask := func() error {
		_, err := nova.Post(ctx, nova.ServiceURL("servers", url.PathEscape(r.state.ServerID), "os-volume_attachments"),
			map[string]any{"volumeAttachment": body}, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusAccepted}})
		return err
	}
	err := ask()
	if gophercloud.ResponseCodeIs(err, http.StatusNotAcceptable) { // a Nova of 2017 has no such volumes
		nova = r.nova
		err = ask()
	}
	if device != "" && gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		delete(body, "device")
		why := hook.Reason(err)
		if err = ask(); err == nil {
			r.call.Remark(remark.Remark{Aspect: "device of a volume", Was: device, Is: "Nova's choice, of volume " + id, Why: why})
		}
	}
	if refused(err) {
		return &hook.Failure{Text: notAttached + ": " + hook.Reason(err), Err: err}
	}
	return err
}
