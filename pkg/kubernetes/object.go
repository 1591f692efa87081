// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"net/url"
	"strconv"
)

// pageSize is how many pods one answer holds.
const pageSize = 500

// Metadata is the part of ObjectMeta that the plugins read.
type Metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
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

// Cinder is CinderVolumeSource and CinderPersistentVolumeSource.
type Cinder struct {
	VolumeID string `json:"volumeID"`
	FSType   string `json:"fsType"`
	ReadOnly bool   `json:"readOnly"`
}

// Pods returns all pods of a namespace.
func (c *Client) Pods(ctx context.Context, namespace string) ([]Pod, error) {
	pods := []Pod{}
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []Pod `json:"items"`
		}
		if err := c.get(ctx, &page, query, "namespaces", namespace, "pods"); err != nil {
			return nil, err
		}
		pods = append(pods, page.Items...)
		if page.Metadata.Continue == "" {
			return pods, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// Pod returns one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*Pod, error) {
	var pod Pod
	if err := c.get(ctx, &pod, nil, "namespaces", namespace, "pods", name); err != nil {
		return nil, err
	}
	return &pod, nil
}

// CinderVolume returns the Cinder volume behind a volume of a pod, or nil if it
// is backed by anything else.
func (c *Client) CinderVolume(ctx context.Context, namespace string, v Volume) (*Cinder, error) {
	if v.Claim == nil {
		return v.Cinder, nil
	}
	var claim struct {
		Spec struct {
			VolumeName string `json:"volumeName"`
		} `json:"spec"`
	}
	if err := c.get(ctx, &claim, nil, "namespaces", namespace, "persistentvolumeclaims", v.Claim.Name); err != nil {
		return nil, err
	}
	if claim.Spec.VolumeName == "" {
		return nil, nil // not bound yet
	}
	var volume struct {
		Spec struct {
			Cinder *Cinder `json:"cinder"`
		} `json:"spec"`
	}
	if err := c.get(ctx, &volume, nil, "persistentvolumes", claim.Spec.VolumeName); err != nil {
		return nil, err
	}
	return volume.Spec.Cinder, nil
}
