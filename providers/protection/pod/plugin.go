// SPDX-License-Identifier: Apache-2.0

// Package pod protects Kubernetes' pods: their manifests go into the bank, and
// come back as new pods with the restored Cinder volumes.
package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-pod-protection-plugin",
	protection.ClassPrefix + "pod.pod_protection_plugin.PodProtectionPlugin",
}

var frame = hook.Frame{Title: "Pod Backup", Verified: "Pod backup", Schemas: schemas}

const group = "pod_backup_protection_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the phase of restored pods", 15*time.Second, poll.Day)

// Cluster is what the plugin needs of a Kubernetes cluster.
type Cluster interface {
	Pod(ctx context.Context, namespace, name string) (*kubernetes.Pod, error)
	PodPage(ctx context.Context, namespace, token string) ([]kubernetes.Pod, string, error)
	CreatePod(ctx context.Context, namespace string, manifest any) (*kubernetes.Pod, error)
	DeletePod(ctx context.Context, namespace, name, uid string) error
	CinderVolume(ctx context.Context, namespace string, v kubernetes.Volume) (*kubernetes.Cinder, error)
}

// Plugin protects OS::Kubernetes::Pod.
type Plugin struct {
	cluster Cluster
	polls   *poll.Batch
	options poll.Options
	newID   func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, cluster Cluster) *Plugin {
	return &Plugin{
		cluster: cluster,
		polls:   poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		options: poll.Options{Timeout: cfg.PollTimeout, Transient: kubernetes.IsTransient, Patience: 5},
		newID:   uuid.NewString,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		if deps.Cluster == nil {
			return nil, kubernetes.ErrLeftOut
		}
		return New(poll.FromConfig(cfg, group), deps.Cluster), nil
	})
}

// Types returns OS::Kubernetes::Pod.
func (*Plugin) Types() []string { return []string{resource.Pod} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one pod. A pod is restored in the Complete hook,
// when its volumes are there.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.save, drop)}, nil
	case protection.Restore:
		return &protection.Operation{Complete: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore), Plan: frame.Plan(p.plan)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("pod", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(hook.Purge(known))}, nil
	case protection.Copy:
		return frame.Copy(known), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

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
	if err := remarkUnkept(c, is.Raw); err != nil {
		return err
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
