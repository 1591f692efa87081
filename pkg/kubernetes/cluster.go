// SPDX-License-Identifier: Apache-2.0

// Package kubernetes is what the plugins for pods know of a Kubernetes cluster:
// the few objects and errors that they work with, and what they ask of an API
// server. One identity serves all tenants, as in the original: the cluster does
// not know OpenStack's projects.
//
// Objects are read into types of a few fields, or kept as the JSON that they are,
// so that fields of later versions of the API survive. The package knows nothing
// of Kubernetes' own libraries: that is pkg/kubernetes/client, which a program may
// leave out.
package kubernetes

import (
	"context"
	"errors"
)

// ErrLeftOut says that the program has no way to a cluster.
var ErrLeftOut = errors.New("this program is built without Kubernetes (build tag nokubernetes)")

// Config is the [k8s_client] section of karbor.conf.
type Config struct {
	Host       string // full URL of the API server
	CAFile     string
	CertFile   string
	KeyFile    string
	Kubeconfig string // in place of all others
}

// Cluster is an API server. All methods may be called again after an error that
// IsTransient tells, and at the same time.
type Cluster interface {
	// Pods returns all pods of a namespace, none if there is no such namespace.
	Pods(ctx context.Context, namespace string) ([]Pod, error)
	// PodPage returns a page of the pods of a namespace. token is empty for the
	// first page, then next of the page before; an empty next is the end.
	PodPage(ctx context.Context, namespace, token string) (pods []Pod, next string, err error)
	// Pod returns one pod. ErrNotFound is in the error if it is not there.
	Pod(ctx context.Context, namespace, name string) (*Pod, error)
	// CreatePod makes a pod of a manifest, which encoding/json makes an object, and
	// returns it as the API server completed it. If there is a pod of its name
	// already, IsAlreadyExists tells it of the error.
	CreatePod(ctx context.Context, namespace string, manifest any) (*Pod, error)
	// DeletePod begins to delete the pod of a name that has a UID. One of another UID
	// is not touched, and IsConflict tells it of the error.
	DeletePod(ctx context.Context, namespace, name, uid string) error
	// CinderVolume returns the Cinder volume behind a volume of a pod, or nil if it
	// is backed by anything else. A claim leads to the volume that it is bound to, of
	// Kubernetes' own kind or of the CSI driver.
	CinderVolume(ctx context.Context, namespace string, v Volume) (*Cinder, error)
}
