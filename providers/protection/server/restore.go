// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	// Mark is this restore's own, on the server that it makes.
	Mark string `json:"mark,omitempty"`
	// Asked: Nova has been, or is about to be, asked for the server.
	Asked    bool   `json:"asked,omitempty"`
	ServerID string `json:"server_id,omitempty"`
}

// Keys of a server's metadata that tell whose it is.
const (
	checkpointMark = "karbor_checkpoint_id"
	resourceMark   = "karbor_resource_id"
	restoreMark    = "karbor_restore"
)

// run is one run of a restore.
type run struct {
	*cloud
	call  *protection.Call
	about metadata
	cards []nic // that the server is to have
	state restoreState

	multiattach bool // of the volume that the server boots from
}

func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	r, err := p.begin(ctx, c)
	if err != nil {
		return "", err
	}
	if err := r.load(ctx); err != nil {
		return "", err
	}
	if err := openstack.RetryCreate(ctx, func() error { return r.make(ctx) }); err != nil {
		return r.state.ServerID, err
	}
	id := r.state.ServerID
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	for _, step := range []func(context.Context) error{r.awaitStart, r.fixCards, r.attachVolumes, r.associate, r.describe} {
		if err := step(ctx); err != nil {
			return id, err
		}
	}
	return id, nil
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*run, error) {
	cloud, err := p.cloud(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{cloud: cloud, call: c}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	if r.state.Mark == "" {
		r.state.Mark = p.newID()
	}
	return r, nil
}

// load reads what the server was, and finds the networks that its cards are to be on.
func (r *run) load(ctx context.Context) error {
	err := r.call.Section.GetJSON(ctx, protection.MetadataKey, &r.about)
	if err == nil {
		r.cards, err = r.chosenCards(ctx)
	}
	return err
}

func (r *run) save(ctx context.Context) error { return r.call.SaveState(ctx, r.state) }

// marks are the metadata by which this restore finds its server.
func (r *run) marks() map[string]string {
	return map[string]string{
		checkpointMark: r.call.Checkpoint.ID(), resourceMark: r.call.Resource.ID, restoreMark: r.state.Mark,
	}
}

// make asks for the server, unless an earlier run or call has.
func (r *run) make(ctx context.Context) error {
	created := remote.Created{Asked: r.state.Asked, ID: r.state.ServerID}
	save := func() error {
		r.state.Asked, r.state.ServerID = created.Asked, created.ID
		return r.save(ctx)
	}
	return remote.Once(ctx, &created, save, r.find, r.create)
}

// create asks for the server. What cannot be as it was is a remark of this run.
func (r *run) create(ctx context.Context) (remote.Created, error) {
	body, err := r.request(ctx)
	if err == nil {
		err = r.readyRoot(ctx)
	}
	if err == nil {
		err = r.save(ctx)
	}
	if err != nil {
		return remote.Created{}, err
	}
	body["metadata"] = with(r.about.Server.Metadata, r.marks())
	var answer struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
	}
	nova := r.nova
	if body["networks"] == nil {
		body["networks"], nova = "none", openstack.WithMicroversion(nova, withoutNetworks)
	}
	if r.multiattach {
		nova = openstack.WithMicroversion(nova, withMultiattach)
	}
	if _, err := nova.Post(ctx, nova.ServiceURL("servers"), map[string]any{"server": body}, &answer, nil); err != nil {
		return remote.Created{}, fmt.Errorf("creating server: %w", err)
	}
	if answer.Server.ID == "" {
		return remote.Created{}, errors.New("the answer does not name the new server")
	}
	return remote.Created{ID: answer.Server.ID}, nil
}

// plan says what restore is going to ask for. What Neutron refuses of addresses and groups
// shows when the server is there.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	r, err := p.begin(ctx, c)
	if err == nil {
		err = r.load(ctx)
	}
	if err != nil {
		return nil, err
	}
	body, err := r.request(ctx)
	if err != nil {
		return nil, err
	}
	var volumes []string
	for _, original := range r.others() {
		id, err := r.new("volume", original)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, id)
	}
	for _, address := range r.about.Server.FloatingIPs {
		if _, err := r.spare(ctx, address, nil); err != nil {
			return nil, err
		}
	}
	body["volumes"], body["floating_ips"] = volumes, r.about.Server.FloatingIPs
	return hook.Words(body), nil
}

// find lists the servers of this restore.
func (r *run) find(ctx context.Context) ([]remote.Created, error) {
	servers, err := openstack.List[server](ctx, r.nova, "servers/detail", "servers", nil)
	var found []remote.Created
	for _, s := range servers {
		if s.Metadata[restoreMark] == r.state.Mark {
			found = append(found, remote.Created{ID: s.ID})
		}
	}
	return found, err
}

// awaitStart waits until the server runs.
func (r *run) awaitStart(ctx context.Context) error {
	err := r.await(ctx, r.state.ServerID, up, func(percent int) { r.call.Report(percent * 9 / 10) })
	if !hook.Unfit(err) {
		return err
	}
	text := "The server does not start successfully"
	if s, showErr := openstack.Show[server](ctx, r.nova, "servers", r.state.ServerID, "server"); showErr == nil && s.Fault.Message != "" {
		text += ": " + s.Fault.Message
	}
	return &hook.Failure{Text: text, Err: err}
}

// defaultName is the name of a restored server when the user gives none.
// karbor: nova_protection_plugin.py
const defaultName = "karbor-restore-server"

// request is the body that makes the server, but for the metadata. What the old one
// had and there is no more is left out, with a remark.
func (r *run) request(ctx context.Context) (map[string]any, error) {
	flavor := r.parameter("restore_flavor_id", r.about.Server.Flavor)
	_, err := openstack.Show[struct{}](ctx, r.nova, "flavors", flavor, "flavor")
	if openstack.IsNotFound(err) {
		return nil, &hook.Failure{Text: fmt.Sprintf("There is no flavor %s: restore_flavor_id names another", flavor), Err: err}
	}
	if err != nil {
		return nil, err
	}
	body := map[string]any{"name": r.parameter("restore_name", defaultName), "flavorRef": flavor}
	if err := r.bootFrom(ctx, body); err != nil {
		return nil, err
	}
	for _, add := range []func(context.Context, map[string]any) error{r.addZone, r.addKey, r.addNetworks} {
		if err := add(ctx, body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func (r *run) parameter(name, otherwise string) string {
	if value, ok := r.call.Parameters.String(name); ok && value != "" {
		return value
	}
	return otherwise
}

// new returns the id of the restored resource that replaces a part of the server.
func (r *run) new(what, id string) (string, error) {
	restored, ok := r.call.NewResources.Get(id)
	if !ok {
		return "", &hook.Failure{Text: fmt.Sprintf("The %s %s of the server was not restored", what, id), Err: errors.New("it is not among the new resources")}
	}
	return restored, nil
}

// standing returns the id of the restored resource that replaces another, or else the id
// itself.
func (r *run) standing(id string) string {
	if restored, ok := r.call.NewResources.Get(id); ok {
		return restored
	}
	return id
}

// bootFrom adds the device that the server boots from.
func (r *run) bootFrom(_ context.Context, body map[string]any) error {
	boot := r.about.Boot
	if !boot.known() {
		return &hook.Failure{Text: noBootDevice + ".", Err: errors.New("the metadata name none")}
	}
	chosen := r.parameter("restore_image_id", "")
	if chosen != "" && boot.Device != bootImage {
		return &hook.Failure{Text: "restore_image_id is not for this server: it was booted from a volume"}
	}
	if chosen != "" {
		body["imageRef"] = chosen
		return nil
	}
	if boot.Device == bootImage {
		// Of servers booted from one image, each but the first has one of its own.
		if own, ok := r.call.NewResources.Get(imagedata.OfServer(boot.ImageID, r.call.Resource.ID)); ok {
			body["imageRef"] = own
			return nil
		}
		id, err := r.new("image", boot.ImageID)
		body["imageRef"] = id
		return err
	}
	id, err := r.new("volume", boot.VolumeID)
	if err != nil {
		return err
	}
	body["block_device_mapping_v2"] = []any{map[string]any{
		"uuid": id, "source_type": "volume", "destination_type": "volume", "boot_index": 0, "delete_on_termination": false,
	}}
	return nil
}

// readyRoot has the volume that the server boots from, if it is one, known as bootable. A
// volume that is restored need not know that.
func (r *run) readyRoot(ctx context.Context) error {
	if r.about.Boot.Device != bootVolume {
		return nil
	}
	id, err := r.new("volume", r.about.Boot.VolumeID)
	if err != nil {
		return err
	}
	v, err := openstack.Show[struct {
		Bootable    string `json:"bootable"`
		Multiattach bool   `json:"multiattach"`
	}](ctx, r.cinder.ServiceClient, "volumes", id, "volume")
	if err != nil {
		return err
	}
	r.multiattach = v.Multiattach
	if v.Bootable != "true" {
		action := map[string]any{"os-set_bootable": map[string]any{"bootable": true}}
		_, err := r.cinder.Post(ctx, r.cinder.ServiceURL("volumes", url.PathEscape(id), "action"), action, nil, &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusOK, http.StatusAccepted},
		})
		if err != nil {
			return fmt.Errorf("make volume %s bootable: %w", id, err)
		}
	}
	return nil
}

func (r *run) addZone(ctx context.Context, body map[string]any) error {
	chosen := r.parameter("restore_availability_zone", "")
	wanted := cmp.Or(chosen, r.about.Server.AvailabilityZone)
	if wanted == "" {
		return nil
	}
	type zone struct {
		Name  string `json:"zoneName"`
		State struct {
			Available bool `json:"available"`
		} `json:"zoneState"`
	}
	zones, err := openstack.List[zone](ctx, r.nova, "os-availability-zone", "availabilityZoneInfo", nil)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(zones, func(z zone) bool { return z.Name == wanted && z.State.Available }) {
		body["availability_zone"] = wanted
		return nil
	}
	if chosen != "" {
		return &hook.Failure{Text: fmt.Sprintf("restore_availability_zone: zone %q is not there or not available", chosen)}
	}
	r.call.Remark(remark.Remark{Aspect: "availability zone", Was: wanted, Is: "Nova's choice", Why: "it is not available any more"})
	return nil
}

func (r *run) addKey(ctx context.Context, body map[string]any) error {
	chosen := r.parameter("restore_key_name", "")
	name := chosen
	if was := r.about.Server.KeyName; name == "" && was != nil {
		name = *was
	}
	if name == "" {
		return nil
	}
	_, err := openstack.Show[struct{}](ctx, r.nova, "os-keypairs", name, "keypair")
	if openstack.IsNotFound(err) && chosen != "" {
		return &hook.Failure{Text: fmt.Sprintf("restore_key_name: the user who restores has no key pair %q", chosen), Err: err}
	}
	if openstack.IsNotFound(err) {
		r.call.Remark(remark.Remark{Aspect: "key pair", Was: name, Why: "the user who restores has none of that name"})
		return nil
	}
	body["key_name"] = name
	return err
}

// attached are the statuses of a volume that is attached. It is reserved before
// Nova answers; one that is available again could not be attached.
// cinder: objects/fields.py
var attached = poll.Statuses{
	Success: []string{"in-use"},
	Failure: []string{"available", "error", "error_attaching", "deleting", "error_deleting", poll.NotFound},
	Ignore:  []string{"attaching", "reserved"},
}

const notAttached = "Attach the volume to server failed"

// others are the volumes but the one that the server was booted from, in the order of their
// devices.
func (r *run) others() []string {
	return slices.DeleteFunc(byDevice(r.about.Attachments), func(id string) bool {
		return r.about.Boot.Device == bootVolume && id == r.about.Boot.VolumeID
	})
}

// attachVolumes attaches all volumes but the one that the server was booted from,
// one after the other in the order of their devices.
func (r *run) attachVolumes(ctx context.Context) error {
	order := r.others()
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

// describe gives the server its description and tags. Both may be given again.
func (r *run) describe(ctx context.Context) error {
	was := r.about.Server
	at := []string{"servers", url.PathEscape(r.state.ServerID)}
	if was.Description != "" {
		body := map[string]any{"server": map[string]any{"description": was.Description}}
		if err := r.set(ctx, remark.Remark{Aspect: "description of a server", Was: was.Description}, body, at...); err != nil {
			return err
		}
	}
	if len(was.Tags) == 0 {
		return nil
	}
	return r.set(ctx, remark.Remark{Aspect: "tags of a server", Was: strings.Join(was.Tags, ", ")}, map[string]any{"tags": was.Tags}, append(at, "tags")...)
}

// set changes what the server needs not have, with a remark if Nova does not want that.
func (r *run) set(ctx context.Context, lost remark.Remark, body map[string]any, path ...string) error {
	nova := openstack.WithMicroversion(r.nova, withTags)
	_, err := nova.Put(ctx, nova.ServiceURL(path...), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	if refused(err) || gophercloud.ResponseCodeIs(err, http.StatusNotAcceptable) {
		lost.Why = hook.Reason(err)
		r.call.Remark(lost)
		return nil
	}
	return err
}

// undoRestore deletes the new server, as far as it has come, and waits until it is
// gone: then its volumes and ports are free.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !r.state.Asked {
		return nil
	}
	servers := []remote.Created{{ID: r.state.ServerID}}
	if r.state.ServerID == "" {
		if servers, err = r.find(ctx); err != nil {
			return &hook.Failure{Text: "a server may be left behind: " + hook.Reason(err), Err: err}
		}
	}
	var failures []error
	for _, s := range servers {
		failures = append(failures, r.remove(ctx, s.ID))
	}
	return hook.Join(failures...)
}

// remove deletes a server.
func (r *run) remove(ctx context.Context, id string) error {
	err := r.dissociate(ctx, id)
	if err == nil {
		_, err = r.nova.Delete(ctx, r.nova.ServiceURL("servers", url.PathEscape(id)), &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusNoContent, http.StatusAccepted, http.StatusNotFound},
		})
	}
	if err == nil {
		err = r.await(ctx, id, gone, nil)
	}
	if err != nil {
		return &hook.Failure{Text: fmt.Sprintf("server %s is left behind: %s", id, hook.Reason(err)), Err: err}
	}
	return nil
}
