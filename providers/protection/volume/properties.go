// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// PropertiesKey is the object of the bank that says what the volume is like. The
// original does not know it, and leaves it alone.
const PropertiesKey = "volume"

// Properties are what the original does not keep of a volume.
type Properties struct {
	Type      string            `json:"volume_type"` // null reads as ""
	Zone      string            `json:"availability_zone"`
	Encrypted bool              `json:"encrypted"`
	Metadata  map[string]string `json:"metadata"`
	Size      int               `json:"size"` // GiB

	Description string `json:"description"` // null reads as ""
}

// Describe asks Cinder for the properties of the volume that a session is about, and
// writes them into the bank. What no restore brings back it remarks.
func Describe(ctx context.Context, s *remote.Session) (*Properties, error) {
	item, err := s.Show(ctx, Volumes, s.Call.Resource.ID)
	if err != nil {
		return nil, err
	}
	p := &Properties{}
	if err := item.Decode(p); err != nil {
		return nil, err
	}
	var groups struct {
		Group       string `json:"group_id"` // null reads as ""
		Consistency string `json:"consistencygroup_id"`
	}
	if err := item.Decode(&groups); err != nil {
		return nil, err
	}
	if group := cmp.Or(groups.Group, groups.Consistency); group != "" {
		s.Call.Remark(remark.Remark{Aspect: "volume group", Was: group, Why: "a volume is restored into no group"})
	}
	// What Cinder shows among a user's metadata, and sets itself.
	delete(p.Metadata, "readonly")
	delete(p.Metadata, "attached_mode")
	return p, s.Call.Section.PutJSON(ctx, PropertiesKey, p)
}

// Added are the parameters of a restore that the original does not have.
var Added = map[string]protection.Property{
	"restore_volume_type":       {Type: "string", Title: "Restore Volume Type", Description: "The type of the restored volume, by id or name."},
	"restore_availability_zone": {Type: "string", Title: "Restore Availability Zone", Description: "The availability zone of the restored volume."},
}

// Resemble asks for a new volume with the properties that the bank has, if it has any:
// the original's backups have none; what the user chooses goes before them. When Cinder refuses them, those that the cloud does
// not have any more are left out, with a remark. An encrypted volume is not put into a
// type of another kind.
func Resemble(ctx context.Context, request *remote.Request) error {
	var p Properties
	err := request.Call.Section.GetJSON(ctx, PropertiesKey, &p)
	if err != nil && !errors.Is(err, bank.ErrNotFound) {
		return err
	}
	if err == nil {
		request.Body["metadata"] = remote.Marks(p.Metadata)
	}
	if _, chosen := request.Call.Parameters.String("restore_description"); !chosen && p.Description != "" {
		request.Body["description"] = p.Description
	}
	if request.Body["snapshot_id"] != nil {
		return nil // Cinder gives it type and zone of the snapshot
	}
	chosenType, _ := request.Call.Parameters.String("restore_volume_type")
	chosenZone, _ := request.Call.Parameters.String("restore_availability_zone")
	if p.Encrypted && chosenType != "" && chosenType != p.Type {
		return &hook.Failure{Text: fmt.Sprintf("restore_volume_type: the volume is encrypted, and comes back in its type %s or not at all", p.Type)}
	}
	for name, wanted := range map[string]string{"volume_type": cmp.Or(chosenType, p.Type), "availability_zone": cmp.Or(chosenZone, p.Zone)} {
		if wanted != "" {
			request.Body[name] = wanted
		}
	}
	request.Concede = func(ctx context.Context, refused error) error {
		return concede(ctx, request, p.Encrypted, map[string]string{"volume_type": chosenType, "availability_zone": chosenZone}, refused)
	}
	return nil
}

const gone = "it is not there any more"

// concede leaves out of a request that was refused, or is going to be, what there is no
// more, or returns the refusal. Nothing takes the place of what the user has chosen.
func concede(ctx context.Context, request *remote.Request, encrypted bool, chosen map[string]string, refused error) error {
	if refused != nil && !gophercloud.ResponseCodeIs(refused, http.StatusNotFound) && !gophercloud.ResponseCodeIs(refused, http.StatusBadRequest) {
		return refused
	}
	conceded := false
	for _, part := range []struct {
		name, path, collection string
		lost                   remark.Remark
	}{
		{"volume_type", "types", "volume_types", remark.Remark{Aspect: "volume type"}},
		{"availability_zone", "os-availability-zone", "availabilityZoneInfo", remark.Remark{Aspect: "availability zone"}},
	} {
		wanted, given := request.Body[part.name].(string)
		if !given {
			continue
		}
		known, err := names(ctx, request, part.path, part.collection)
		switch {
		case err != nil:
			return err
		case slices.Contains(known, wanted):
			continue
		case chosen[part.name] != "":
			return &hook.Failure{Text: fmt.Sprintf("restore_%s: there is no %s %q", part.name, part.lost.Aspect, wanted), Err: refused}
		case part.name == "volume_type" && encrypted:
			return &hook.Failure{Text: fmt.Sprintf("The volume is encrypted, and its type %s is not there any more", wanted), Err: refused}
		}
		delete(request.Body, part.name)
		part.lost.Was, part.lost.Is, part.lost.Why = wanted, "the default", gone
		request.Call.Remark(part.lost)
		conceded = true
	}
	if conceded {
		return nil
	}
	return refused
}

// names lists the names and ids of volume types, or the names of zones.
func names(ctx context.Context, request *remote.Request, path, collection string) ([]string, error) {
	items, err := openstack.List[struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Zone string `json:"zoneName"`
	}](ctx, request.ServiceClient, path, collection, nil)
	var all []string
	for _, i := range items {
		all = append(all, i.ID, i.Name, i.Zone) // what it has not is no name of anything
	}
	return all, err
}
