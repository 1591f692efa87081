// SPDX-License-Identifier: Apache-2.0

// Package pod protects Kubernetes' pods: their manifests go into the bank, and
// come back as new pods with the restored Cinder volumes.
package pod

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are those by which provider files ask for the plugin.
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
		return &protection.Operation{Complete: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("pod", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(hook.Purge(known))}, nil
	case protection.Copy:
		return frame.Copy(known), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
