// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"encoding/json"
	"time"
)

// Metadata is the part of ObjectMeta that the plugins read.
type Metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	UID         string            `json:"uid"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	// Deleted is when the deletion of a still existing object began.
	Deleted *time.Time `json:"deletionTimestamp"`
}

// Pod is a pod with the parts that link it to volumes.
type Pod struct {
	Metadata Metadata `json:"metadata"`
	Spec     struct {
		Volumes []Volume `json:"volumes"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
	// Raw is the whole object as the API server sent it.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the text.
func (p *Pod) UnmarshalJSON(text []byte) error {
	type plain Pod // without this method
	if err := json.Unmarshal(text, (*plain)(p)); err != nil {
		return err
	}
	p.Raw = append(json.RawMessage{}, text...)
	return nil
}

// Volume is a volume of a pod: a claim, or a Cinder volume by its id. Both are nil for
// a kind that the plugins do not know.
type Volume struct {
	Name   string  `json:"name"`
	Cinder *Cinder `json:"cinder"`
	Claim  *struct {
		Name string `json:"claimName"`
	} `json:"persistentVolumeClaim"`
}

// Cinder is CinderVolumeSource and CinderPersistentVolumeSource. Fields that the API
// server omits are nil.
type Cinder struct {
	VolumeID string  `json:"volumeID"`
	FSType   *string `json:"fsType"`
	ReadOnly *bool   `json:"readOnly"`
}

// CinderDriver is the name of the CSI driver for Cinder, whose volume handles are
// ids of volumes. cloud-provider-openstack: pkg/csi/cinder
const CinderDriver = "cinder.csi.openstack.org"
