// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"context"
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// mountedBy returns the ids of the Cinder volumes behind a pod's volumes. The
// pod is found by its name, "namespace:name".
func (p *Plugin) mountedBy(ctx context.Context, parent resource.Resource) ([]string, error) {
	namespace, name, ok := strings.Cut(parent.Name, ":")
	if !ok {
		return nil, fmt.Errorf("the name of the pod is not of the form namespace:name: %s", parent.Name)
	}
	type podKey string
	pod, err := protectable.Once(ctx, podKey(parent.Name), func(ctx context.Context) (*kubernetes.Pod, error) {
		return p.cluster.Pod(ctx, namespace, name)
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, v := range pod.Spec.Volumes {
		cinder, err := p.cluster.CinderVolume(ctx, namespace, v)
		if err != nil {
			return nil, err
		}
		if cinder != nil {
			ids = append(ids, cinder.VolumeID)
		}
	}
	return ids, nil
}
