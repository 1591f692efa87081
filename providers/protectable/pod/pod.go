// SPDX-License-Identifier: Apache-2.0

// Package pod makes Kubernetes' pods protectable.
package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the phases in which a pod is not listed.
// karbor: services/protection/protectable_plugins/pod.py
var unfit = []string{"Pending", "Failed", "Unknown"}

// Options are read from karbor.conf.
var Options = []config.Option{
	{Group: "pod_protectable", Name: "namespace", Default: "default", Help: "Kubernetes namespace whose pods can be protected, or several with commas between them. Pods of other namespaces are not there, whoever asks. Every project can protect and restore the pods of these."},
}

// Namespaces reads Options.
func Namespaces(cfg *config.Config) []string {
	return strings.FieldsFunc(cfg.String("pod_protectable", "namespace"), func(r rune) bool { return r == ',' || r == ' ' })
}

// Cluster reads pods.
type Cluster interface {
	Pods(ctx context.Context, namespace string) ([]kubernetes.Pod, error)
	Pod(ctx context.Context, namespace, name string) (*kubernetes.Pod, error)
}

// Plugin lists the pods of some namespaces.
type Plugin struct {
	cluster    Cluster
	namespaces []string
}

var _ protectable.Judge = (*Plugin)(nil)

// New returns the plugin for namespaces. Pods whose name has no namespace belong to the
// first one.
func New(cluster Cluster, namespaces ...string) *Plugin {
	return &Plugin{cluster: cluster, namespaces: namespaces}
}

// Type returns OS::Kubernetes::Pod.
func (*Plugin) Type() string { return resource.Pod }

// ParentTypes returns the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Project} }

func toResource(namespace string, p kubernetes.Pod) resource.Resource {
	return resource.Resource{
		Type:      resource.Pod,
		ID:        kubernetes.PodID(namespace, p.Metadata.Name),
		Name:      namespace + ":" + p.Metadata.Name,
		ExtraInfo: protectable.ExtraInfo(map[string]string{"namespace": namespace}),
	}
}

type listing string // of a namespace

// List returns the pods that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	pods, err := p.pods(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Pod, err)
	}
	return p.phases().Fit(ctx, pods, unfit, func(l listed) resource.Resource { return l.Resource }), nil
}

// listed is a pod and its phase.
type listed struct {
	resource.Resource
	phase string
}

// pods lists the pods of all namespaces, once per graph.
func (p *Plugin) pods(ctx context.Context) ([]listed, error) {
	var all []listed
	for _, namespace := range p.namespaces {
		pods, err := protectable.Once(ctx, listing(namespace), func(ctx context.Context) ([]kubernetes.Pod, error) {
			return p.cluster.Pods(ctx, namespace)
		})
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			all = append(all, listed{toResource(namespace, pod), pod.Status.Phase})
		}
	}
	return all, nil
}

// Unfit implements protectable.Judge.
func (p *Plugin) Unfit(ctx context.Context, pods []resource.Resource) (map[string]string, error) {
	return p.phases().Unfit(ctx, pods, unfit)
}

func (p *Plugin) phases() protectable.Statuses[listed] {
	return protectable.Statuses[listed]{Type: resource.Pod, List: p.pods, Of: func(l listed) (id, status string) { return l.ID, l.phase }}
}

// Show returns the pod that the parameter "name" names, with or without
// "namespace:" before it. A name cannot be found from an id, but the id must be that
// of the name.
func (p *Plugin) Show(ctx context.Context, id string, parameters protectable.Parameters) (*resource.Resource, error) {
	var text string
	if err := json.Unmarshal(parameters["name"], &text); err != nil || text == "" {
		return nil, protectable.ShowFailed(resource.Pod, id, errors.New(`the parameter "name" is required`))
	}
	namespace, name, ok := strings.Cut(text, ":")
	if !ok {
		namespace, name = p.namespaces[0], text
	}
	if id != kubernetes.PodID(namespace, name) || !slices.Contains(p.namespaces, namespace) {
		return nil, protectable.ShowFailed(resource.Pod, id, fmt.Errorf("it is not the id of a pod %q of namespace %s", name, strings.Join(p.namespaces, " or ")))
	}
	pod, err := p.cluster.Pod(ctx, namespace, name)
	if err != nil {
		return nil, protectable.ShowFailed(resource.Pod, id, err)
	}
	if err := protectable.CheckStatus(resource.Pod, id, pod.Status.Phase, unfit); err != nil {
		return nil, err
	}
	r := toResource(namespace, *pod)
	return &r, nil
}

// Dependents returns the pods of the configured namespaces, for any project.
func (p *Plugin) Dependents(ctx context.Context, _ resource.Resource) ([]resource.Resource, error) {
	return p.List(ctx, nil)
}
