// SPDX-License-Identifier: Apache-2.0

// Package kubernetes defines what the plugins for pods need of a Kubernetes cluster: a
// few objects and errors, and the calls to an API server. One identity serves all
// tenants, as in the original: the cluster does not know OpenStack's projects.
//
// Objects are decoded into types of a few fields, or kept as raw JSON, so that fields
// of later API versions survive. The package does not use Kubernetes' own libraries;
// pkg/kubernetes/client does, which a program may leave out.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// ErrLeftOut reports that the program was built without a client for clusters.
var ErrLeftOut = errors.New("this program is built without Kubernetes (build tag nokubernetes)")

// ErrNotConfigured reports that karbor.conf names no cluster.
var ErrNotConfigured = errors.New("k8s_host is not configured")

// Config is the [k8s_client] section of karbor.conf.
type Config struct {
	Host       string // full URL of the API server
	CAFile     string
	CertFile   string
	KeyFile    string
	Kubeconfig string // in place of all others
}

// Cluster is an API server. Methods may be called concurrently, and again after an
// error for which IsTransient is true.
type Cluster interface {
	// Pods returns all pods of a namespace, none if the namespace does not exist.
	Pods(ctx context.Context, namespace string) ([]Pod, error)
	// PodPage returns a page of the pods of a namespace. token is empty for the first
	// page, and otherwise next of the preceding page; an empty next is the end.
	PodPage(ctx context.Context, namespace, token string) (pods []Pod, next string, err error)
	// Pod returns one pod. The error wraps ErrNotFound if the pod does not exist.
	Pod(ctx context.Context, namespace, name string) (*Pod, error)
	// CreatePod creates a pod from a manifest, which encoding/json encodes as an
	// object, and returns the pod as the API server completed it. If a pod of that name
	// exists, IsAlreadyExists is true for the error.
	CreatePod(ctx context.Context, namespace string, manifest any) (*Pod, error)
	// DeletePod begins to delete the pod with the given name and UID. A pod with
	// another UID is not touched, and IsConflict is true for the error.
	DeletePod(ctx context.Context, namespace, name, uid string) error
	// CinderVolume returns the Cinder volume behind a volume of a pod, or nil for any
	// other kind. A claim is followed to the volume that it is bound to, of Kubernetes'
	// own kind or of the CSI driver.
	CinderVolume(ctx context.Context, namespace string, v Volume) (*Cinder, error)
}

// ErrNotFound is wrapped by errors about objects that do not exist.
var ErrNotFound = errors.New("not found")

// StatusError is the API server's answer in place of an object. kubernetes:
// api-reference Status
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

// IsAlreadyExists reports whether an object of the name already exists.
func IsAlreadyExists(err error) bool { return reason(err) == "AlreadyExists" }

// IsConflict reports whether the object is not the intended one.
func IsConflict(err error) bool { return reason(err) == "Conflict" }

func reason(err error) string {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Reason
	}
	return ""
}

// IsTransient reports whether a later attempt may succeed: after errors of the
// connection, of an API server that is busy, slow or restarting, and of a listing whose
// snapshot has expired.
func IsTransient(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests || status.Code == http.StatusGone
	}
	var transport *url.Error
	return (errors.As(err, &transport) || errors.Is(err, context.DeadlineExceeded)) && !errors.Is(err, context.Canceled)
}
