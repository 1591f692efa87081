// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// CinderVolume implements kubernetes.Cluster.
func (c *Client) CinderVolume(ctx context.Context, namespace string, v kubernetes.Volume) (*kubernetes.Cinder, error) {
	if v.Claim == nil {
		return v.Cinder, nil
	}
	var claim core.PersistentVolumeClaim
	err := c.get(ctx, &claim, func(r *rest.Request) *rest.Request {
		return r.Namespace(namespace).Resource("persistentvolumeclaims").Name(v.Claim.Name)
	})
	if err != nil || claim.Spec.VolumeName == "" { // not bound yet
		return nil, err
	}
	var volume core.PersistentVolume
	err = c.get(ctx, &volume, func(r *rest.Request) *rest.Request {
		return r.Resource("persistentvolumes").Name(claim.Spec.VolumeName)
	})
	if err != nil {
		return nil, err
	}
	switch source := volume.Spec.PersistentVolumeSource; {
	case source.CSI != nil && source.CSI.Driver == kubernetes.CinderDriver:
		return cinder(source.CSI.VolumeHandle, source.CSI.FSType, source.CSI.ReadOnly), nil
	case source.Cinder != nil:
		return cinder(source.Cinder.VolumeID, source.Cinder.FSType, source.Cinder.ReadOnly), nil
	}
	return nil, nil
}

func (c *Client) get(ctx context.Context, into runtime.Object, describe func(*rest.Request) *rest.Request) error {
	return c.call(ctx, http.MethodGet, describe, func(result rest.Result) error { return result.Into(into) })
}

// cinder takes what has its zero value for not told: an API server leaves that out.
func cinder(id, fsType string, readOnly bool) *kubernetes.Cinder {
	volume := &kubernetes.Cinder{VolumeID: id}
	if fsType != "" {
		volume.FSType = &fsType
	}
	if readOnly {
		volume.ReadOnly = &readOnly
	}
	return volume
}
