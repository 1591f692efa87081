// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
)

// defaultName is the name of a restored server when the user gives none.
// karbor: nova_protection_plugin.py
const defaultName = "karbor-restore-server"

// request is the body that makes the server, but for the metadata. What the old one
// had and there is no more is left out, with a remark.
func (r *run) request(ctx context.Context) (map[string]any, error) {
	body := map[string]any{"name": r.parameter("restore_name", defaultName), "flavorRef": r.parameter("restore_flavor_id", r.about.Server.Flavor)}
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

// new returns the id of what was restored in place of a part of the server.
func (r *run) new(what, id string) (string, error) {
	restored, ok := r.call.NewResources.Get(id)
	if !ok {
		return "", &hook.Failure{Text: fmt.Sprintf("The %s %s of the server was not restored", what, id), Err: errors.New("it is not among the new resources")}
	}
	return restored, nil
}

// standing returns the id of what stands for something now: what was restored, or
// else the thing itself.
func (r *run) standing(id string) string {
	if restored, ok := r.call.NewResources.Get(id); ok {
		return restored
	}
	return id
}

// bootFrom adds the device that the server boots from. A volume that is restored
// need not know that it can be booted from.
func (r *run) bootFrom(ctx context.Context, body map[string]any) error {
	boot := r.about.Boot
	if !boot.known() {
		return &hook.Failure{Text: noBootDevice + ".", Err: errors.New("the metadata name none")}
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
	body["block_device_mapping_v2"] = []any{map[string]any{
		"uuid": id, "source_type": "volume", "destination_type": "volume", "boot_index": 0, "delete_on_termination": false,
	}}
	return nil
}

func (r *run) addZone(ctx context.Context, body map[string]any) error {
	wanted := r.about.Server.AvailabilityZone
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
	r.call.Remark(remark.Remark{Aspect: "availability zone", Was: wanted, Is: "Nova's choice", Why: "it is not available any more"})
	return nil
}

func (r *run) addKey(ctx context.Context, body map[string]any) error {
	name := r.about.Server.KeyName
	if name == nil || *name == "" {
		return nil
	}
	_, err := openstack.Show[struct{}](ctx, r.nova, "os-keypairs", *name, "keypair")
	if openstack.IsNotFound(err) {
		r.call.Remark(remark.Remark{Aspect: "key pair", Was: *name, Why: "the user who restores has none of that name"})
		return nil
	}
	body["key_name"] = *name
	return err
}
