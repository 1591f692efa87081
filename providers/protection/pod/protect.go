// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// save writes the pod into the bank.
func (p *Plugin) save(ctx context.Context, c *protection.Call) error {
	namespace, name, ok := strings.Cut(c.Resource.Name, ":")
	if !ok {
		return &hook.Failure{Text: "The name of the pod is not of the form namespace:name: " + c.Resource.Name}
	}
	if c.Resource.ID != kubernetes.PodID(namespace, name) {
		return &hook.Failure{Text: fmt.Sprintf("%s is not the id of pod %s in namespace %s", c.Resource.ID, name, namespace)}
	}
	is, err := p.cluster.Pod(ctx, namespace, name)
	if err != nil {
		return err
	}
	about := metadata{ResourceID: c.Resource.ID, ResourceName: c.Resource.Name, Namespace: namespace}
	if about.Pod, err = p.summarize(ctx, namespace, is); err != nil {
		return err
	}
	for _, v := range about.Pod.Spec.Volumes {
		// Such a pod could never be restored, nor run without what it mounts.
		if c.Graph.Find(resource.Key{Type: resource.Volume, ID: v.Cinder.VolumeID}) == nil {
			return &hook.Failure{Text: fmt.Sprintf("Volume %s, which the pod mounts as %s, is not protected with it: "+
				"it is not one of the project's, or not in a status in which volumes can be protected", v.Cinder.VolumeID, v.Name)}
		}
	}
	if err := c.Section.PutJSON(ctx, manifestKey, is.Raw); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, about)
}

// summarize makes of a pod what the original keeps.
func (p *Plugin) summarize(ctx context.Context, namespace string, is *kubernetes.Pod) (summary, error) {
	var s summary
	if err := json.Unmarshal(is.Raw, &s); err != nil {
		return s, err
	}
	for i := range s.Spec.Containers {
		mounts := []mount{}
		for _, m := range s.Spec.Containers[i].VolumeMounts {
			if !strings.Contains(m.MountPath, "serviceaccount") {
				mounts = append(mounts, m)
			}
		}
		s.Spec.Containers[i].VolumeMounts = mounts
	}
	s.Spec.Volumes = []mounted{}
	for _, v := range is.Spec.Volumes {
		cinder, err := p.cluster.CinderVolume(ctx, namespace, v)
		if err != nil {
			return s, err
		}
		if cinder != nil {
			s.Spec.Volumes = append(s.Spec.Volumes, mounted{Name: v.Name, Cinder: cinder})
		}
	}
	return s, nil
}

// drop removes from the bank what a protect has written that failed.
func drop(ctx context.Context, c *protection.Call, _ error) error {
	if c.Section == nil {
		return nil
	}
	return c.DeleteObjects(ctx, "", func(key string) bool { return key != protection.StatusKey })
}
