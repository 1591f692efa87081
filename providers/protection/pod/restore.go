// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// defaultName begins the name of a restored pod when the user gives none.
// karbor: pod_protection_plugin.py
const defaultName = "karbor-restored-pod-"

// Annotations of a restored pod, by which a second run tells it from another of
// the same name.
const (
	checkpointMark = "karbor.openstack.org/checkpoint-id"
	resourceMark   = "karbor.openstack.org/resource-id"
	restoreMark    = "karbor.openstack.org/restore"
)

// restoreState is what a second run of a restore knows of the first. Names of
// pods are unique, so it is kept before the pod is made.
type restoreState struct {
	Mark      string `json:"mark,omitempty"` // this restore's own
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

func (s restoreState) marks(c *protection.Call) map[string]string {
	return map[string]string{checkpointMark: c.Checkpoint.ID(), resourceMark: c.Resource.ID, restoreMark: s.Mark}
}

// ours reports whether this restore has made a pod.
func (s restoreState) ours(is *kubernetes.Pod) bool {
	return s.Mark != "" && is.Metadata.Annotations[restoreMark] == s.Mark
}

// restore makes a new pod and returns its name, by which Karbor's users know it.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	m, volumes, err := load(ctx, c)
	if err != nil {
		return "", err
	}
	if volumes, err = restored(c, volumes); err != nil {
		return "", err
	}
	var state restoreState
	if err := c.LoadState(ctx, &state); err != nil {
		return "", err
	}
	if state.Name == "" {
		state = restoreState{Mark: p.newID(), Namespace: m.namespace, Name: p.name(c)}
		if err := c.SaveState(ctx, state); err != nil {
			return "", err
		}
	}
	if err := p.make(ctx, state, m.renew(state.Name, state.marks(c), volumes)); err != nil {
		return "", err
	}
	if err := c.UpdateStatus(ctx, state.Name, protection.StatusRestoring, ""); err != nil {
		return state.Name, err
	}
	return state.Name, hook.Instead("The pod does not run successfully", p.await(ctx, state, running))
}

// plan says what restore makes.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	m, volumes, err := load(ctx, c)
	if err == nil {
		volumes, err = restored(c, volumes)
	}
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		ids = append(ids, volumes[name].VolumeID)
	}
	return hook.Words(map[string]any{"namespace": m.namespace, "name": p.name(c), "volumes": ids}), nil
}

func (p *Plugin) name(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return defaultName + p.newID()
}

// restored returns the new volumes in place of the old ones.
func restored(c *protection.Call, volumes map[string]kubernetes.Cinder) (map[string]kubernetes.Cinder, error) {
	renewed := map[string]kubernetes.Cinder{}
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		cinder := volumes[name]
		id, ok := c.NewResources.Get(cinder.VolumeID)
		if !ok {
			return nil, &hook.Failure{Text: fmt.Sprintf("Volume %s of the pod was not restored", cinder.VolumeID)}
		}
		cinder.VolumeID = id
		renewed[name] = cinder
	}
	return renewed, nil
}

// make makes the pod, unless an earlier run has made it.
func (p *Plugin) make(ctx context.Context, state restoreState, manifest map[string]any) error {
	_, err := p.cluster.CreatePod(ctx, state.Namespace, manifest)
	if !kubernetes.IsAlreadyExists(err) {
		return err
	}
	is, showErr := p.cluster.Pod(ctx, state.Namespace, state.Name)
	if showErr == nil && state.ours(is) {
		return nil
	}
	return errors.Join(err, showErr)
}

// undoRestore deletes the new pod, as far as it has come, and waits until it is
// gone.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	var state restoreState
	if err := c.LoadState(ctx, &state); err != nil || state.Name == "" {
		return err // none was begun
	}
	err := p.remove(ctx, state)
	if err == nil || protection.Handover(ctx, err) != nil {
		return err
	}
	return &hook.Failure{Text: fmt.Sprintf("pod %s:%s may be left behind: %s", state.Namespace, state.Name, hook.Reason(err)), Err: err}
}

func (p *Plugin) remove(ctx context.Context, state restoreState) error {
	is, err := p.cluster.Pod(ctx, state.Namespace, state.Name)
	if errors.Is(err, kubernetes.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !state.ours(is) {
		return nil
	}
	if is.Metadata.Deleted == nil {
		err := p.cluster.DeletePod(ctx, state.Namespace, state.Name, is.Metadata.UID)
		if errors.Is(err, kubernetes.ErrNotFound) || kubernetes.IsConflict(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return p.await(ctx, state, gone)
}

// Phases of pods that one waits for. One that has done its work has run.
// kubernetes: api-reference PodStatus
var (
	running = poll.Statuses{
		Success: []string{"Running", "Succeeded"},
		Failure: []string{"Failed", "Unknown", poll.NotFound},
		Ignore:  []string{"Pending", ""},
	}
	gone = poll.Statuses{Success: []string{poll.NotFound}, IgnoreUnexpected: true}
)

// await waits for a phase of the pod, with a listing for all pods of a namespace
// that are waited for.
func (p *Plugin) await(ctx context.Context, state restoreState, phases poll.Statuses) error {
	err := p.polls.Until(ctx, poll.Key{Service: "kubernetes", Project: state.Namespace, Kind: "pods"}, poll.Wait{
		ID: state.Name, Statuses: phases, Options: p.options, Source: source{p.cluster, state.Namespace},
	})
	if err != nil {
		return fmt.Errorf("wait for pod %s:%s: %w", state.Namespace, state.Name, err)
	}
	return nil
}

// source looks at the pods of a namespace.
type source struct {
	cluster   Cluster
	namespace string
}

var _ poll.Source = source{}

// Page implements poll.Source.
func (s source) Page(ctx context.Context, token string) (map[string]poll.Status, string, error) {
	pods, next, err := s.cluster.PodPage(ctx, s.namespace, token)
	page := make(map[string]poll.Status, len(pods))
	for _, pod := range pods {
		page[pod.Metadata.Name] = poll.Status{Text: pod.Status.Phase}
	}
	return page, next, err
}

// Show implements poll.Source.
func (s source) Show(ctx context.Context, name string) (poll.Status, error) {
	pod, err := s.cluster.Pod(ctx, s.namespace, name)
	if errors.Is(err, kubernetes.ErrNotFound) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return poll.Status{Text: pod.Status.Phase}, nil
}
