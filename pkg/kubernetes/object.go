// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pageSize is how many pods one answer holds.
const pageSize = 500

// Metadata is the part of ObjectMeta that the plugins read.
type Metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	UID         string            `json:"uid"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	// Deleted is when the deletion of an object began that is there still.
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

// Volume is a volume of a pod: a claim, or a Cinder volume by its id, or of a
// kind that the plugins do not know, with both nil.
type Volume struct {
	Name   string  `json:"name"`
	Cinder *Cinder `json:"cinder"`
	Claim  *struct {
		Name string `json:"claimName"`
	} `json:"persistentVolumeClaim"`
}

// Cinder is CinderVolumeSource and CinderPersistentVolumeSource. What the API
// server does not tell is nil.
type Cinder struct {
	VolumeID string  `json:"volumeID"`
	FSType   *string `json:"fsType"`
	ReadOnly *bool   `json:"readOnly"`
}

// CinderDriver is the name of the CSI driver for Cinder, whose volume handles are
// ids of volumes. cloud-provider-openstack: pkg/csi/cinder
const CinderDriver = "cinder.csi.openstack.org"

// Pods returns all pods of a namespace.
func (c *Client) Pods(ctx context.Context, namespace string) ([]Pod, error) {
	pods, token := []Pod{}, ""
	for {
		page, next, err := c.PodPage(ctx, namespace, token)
		if err != nil {
			return nil, err
		}
		pods = append(pods, page...)
		if next == "" {
			return pods, nil
		}
		token = next
	}
}

// PodPage returns a page of the pods of a namespace. token is empty for the first
// page, then next of the page before; an empty next is the end.
func (c *Client) PodPage(ctx context.Context, namespace, token string) (pods []Pod, next string, err error) {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if token != "" {
		query.Set("continue", token)
	}
	var page struct {
		Metadata struct {
			Continue string `json:"continue"`
		} `json:"metadata"`
		Items []Pod `json:"items"`
	}
	err = c.do(ctx, request{method: http.MethodGet, query: query, parts: []string{"namespaces", namespace, "pods"}}, &page)
	return page.Items, page.Metadata.Continue, err
}

// Pod returns one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*Pod, error) {
	var pod Pod
	if err := c.do(ctx, request{method: http.MethodGet, parts: []string{"namespaces", namespace, "pods", name}}, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// CreatePod makes a pod of a manifest, which encoding/json makes an object, and
// returns it as the API server completed it. If there is a pod of its name
// already, IsAlreadyExists tells it of the error.
func (c *Client) CreatePod(ctx context.Context, namespace string, manifest any) (*Pod, error) {
	var pod Pod
	r := request{method: http.MethodPost, body: manifest, parts: []string{"namespaces", namespace, "pods"}}
	if err := c.do(ctx, r, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// DeletePod begins to delete the pod of a name that has a UID. One of another UID
// is not touched, and IsConflict tells it of the error.
func (c *Client) DeletePod(ctx context.Context, namespace, name, uid string) error {
	options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": uid}}
	var ignored json.RawMessage // a Status, or the pod on its way
	return c.do(ctx, request{method: http.MethodDelete, body: options, parts: []string{"namespaces", namespace, "pods", name}}, &ignored)
}

// CinderVolume returns the Cinder volume behind a volume of a pod, or nil if it
// is backed by anything else. A claim leads to the volume that it is bound to, of
// Kubernetes' own kind or of the CSI driver.
func (c *Client) CinderVolume(ctx context.Context, namespace string, v Volume) (*Cinder, error) {
	if v.Claim == nil {
		return v.Cinder, nil
	}
	var claim struct {
		Spec struct {
			VolumeName string `json:"volumeName"`
		} `json:"spec"`
	}
	r := request{method: http.MethodGet, parts: []string{"namespaces", namespace, "persistentvolumeclaims", v.Claim.Name}}
	if err := c.do(ctx, r, &claim); err != nil {
		return nil, err
	}
	if claim.Spec.VolumeName == "" {
		return nil, nil // not bound yet
	}
	var volume struct {
		Spec struct {
			Cinder *Cinder `json:"cinder"`
			CSI    *struct {
				Driver       string  `json:"driver"`
				VolumeHandle string  `json:"volumeHandle"`
				FSType       *string `json:"fsType"`
				ReadOnly     *bool   `json:"readOnly"`
			} `json:"csi"`
		} `json:"spec"`
	}
	if err := c.do(ctx, request{method: http.MethodGet, parts: []string{"persistentvolumes", claim.Spec.VolumeName}}, &volume); err != nil {
		return nil, err
	}
	if csi := volume.Spec.CSI; csi != nil && csi.Driver == CinderDriver {
		return &Cinder{VolumeID: csi.VolumeHandle, FSType: csi.FSType, ReadOnly: csi.ReadOnly}, nil
	}
	return volume.Spec.Cinder, nil
}
