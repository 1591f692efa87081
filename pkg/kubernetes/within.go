// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
)

// PodID returns the id by which Karbor knows the pod of a name. Names of pods are
// reused, and so is the id.
// karbor: services/protection/protectable_plugins/pod.py
func PodID(namespace, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(namespace+":"+name)).String()
}

// Within returns a view of a cluster that is limited to some namespaces. The names of
// pods come from tenants, while the cluster only sees the identity of the service:
// otherwise any tenant could copy and start a pod of a system namespace.
func Within(c Cluster, namespaces ...string) Cluster { return &within{c, namespaces} }

type within struct {
	cluster    Cluster
	namespaces []string
}

// check returns the API server's answer for a namespace outside the configured ones.
func (w *within) check(namespace string) error {
	if slices.Contains(w.namespaces, namespace) {
		return nil
	}
	return &StatusError{Code: http.StatusNotFound, Reason: "NotFound",
		Message: fmt.Sprintf("namespace %.80q is not one whose pods can be protected", namespace)}
}

func (w *within) Pods(ctx context.Context, namespace string) ([]Pod, error) {
	if err := w.check(namespace); err != nil {
		return nil, err
	}
	return w.cluster.Pods(ctx, namespace)
}

func (w *within) PodPage(ctx context.Context, namespace, token string) ([]Pod, string, error) {
	if err := w.check(namespace); err != nil {
		return nil, "", err
	}
	return w.cluster.PodPage(ctx, namespace, token)
}

func (w *within) Pod(ctx context.Context, namespace, name string) (*Pod, error) {
	if err := w.check(namespace); err != nil {
		return nil, err
	}
	return w.cluster.Pod(ctx, namespace, name)
}

func (w *within) CreatePod(ctx context.Context, namespace string, manifest any) (*Pod, error) {
	if err := w.check(namespace); err != nil {
		return nil, err
	}
	return w.cluster.CreatePod(ctx, namespace, manifest)
}

func (w *within) DeletePod(ctx context.Context, namespace, name, uid string) error {
	if err := w.check(namespace); err != nil {
		return err
	}
	return w.cluster.DeletePod(ctx, namespace, name, uid)
}

func (w *within) CinderVolume(ctx context.Context, namespace string, v Volume) (*Cinder, error) {
	if err := w.check(namespace); err != nil {
		return nil, err
	}
	return w.cluster.CinderVolume(ctx, namespace, v)
}
