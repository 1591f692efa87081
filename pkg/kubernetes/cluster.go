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
	"fmt"
	"net/http"
	"net/url"
)

// ErrLeftOut says that the program has no way to a cluster.
var ErrLeftOut = errors.New("this program is built without Kubernetes (build tag nokubernetes)")

// ErrNotConfigured says that karbor.conf names no cluster.
var ErrNotConfigured = errors.New("k8s_host is not configured")

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

// ErrNotFound is in the chain of errors about objects that do not exist.
var ErrNotFound = errors.New("not found")

// StatusError is what the API server answers in place of an object.
// kubernetes: api-reference Status
type StatusError struct {
	Code    int    // of HTTP
	Reason  string // "AlreadyExists", for machines
	Message string // for people
}

// Error returns the message and the code.
func (e *StatusError) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Code) }

// Is reports that an answer with code 404 is ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && e.Code == http.StatusNotFound
}

// IsAlreadyExists reports whether there is an object of the name already.
func IsAlreadyExists(err error) bool { return reason(err) == "AlreadyExists" }

// IsConflict reports whether the object is not the one that was meant.
func IsConflict(err error) bool { return reason(err) == "Conflict" }

func reason(err error) string {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Reason
	}
	return ""
}

// IsTransient tells errors that may be gone at the next attempt: of the
// connection, of an API server that is busy, slow or restarts, and of a listing
// that took so long that its snapshot is gone.
func IsTransient(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests || status.Code == http.StatusGone
	}
	var transport *url.Error
	return (errors.As(err, &transport) || errors.Is(err, context.DeadlineExceeded)) && !errors.Is(err, context.Canceled)
}
