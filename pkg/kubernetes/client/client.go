// SPDX-License-Identifier: Apache-2.0

// Package client calls a Kubernetes cluster with client-go's REST client and only the
// types that the plugins for pods need, without the clients for all other APIs. No other
// package of the service imports Kubernetes' libraries.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// Client calls one API server. It is safe for concurrent use.
type Client struct {
	cfg  kubernetes.Config
	wrap func(http.RoundTripper) http.RoundTripper // nil: nothing

	mu   sync.Mutex
	rest *rest.RESTClient  // nil until it could be made
	base http.RoundTripper // of rest
}

var _ kubernetes.Cluster = (*Client)(nil)

// New returns a client. It reads the configured files at the first call, so that they
// may be missing where no pod is protected.
func New(cfg kubernetes.Config) *Client { return &Client{cfg: cfg} }

// Wrapped returns a client for the same cluster whose calls go through wrap(transport).
func (c *Client) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Client {
	return &Client{cfg: c.cfg, wrap: wrap}
}

// connected returns the REST client. After a failure, for example a missing file, a
// later call may succeed.
func (c *Client) connected() (*rest.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rest != nil {
		return c.rest, nil
	}
	settings, err := settings(c.cfg)
	if err != nil {
		return nil, err
	}
	base, err := rest.TransportFor(settings)
	if err != nil {
		return nil, fmt.Errorf("configuring the client for Kubernetes: %w", err)
	}
	web := httpclient.New(guard.Transport(base))
	web.Timeout = settings.Timeout
	if c.wrap != nil { // not by the settings, which the library caches for as long as base is in use
		web.Transport = c.wrap(web.Transport)
	}
	made, err := rest.RESTClientForConfigAndClient(settings, &web)
	if err != nil {
		return nil, fmt.Errorf("configuring the client for Kubernetes: %w", err)
	}
	c.rest, c.base = made, base
	return made, nil
}

// Close ends the idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rest != nil {
		net.CloseIdleConnectionsFor(c.base)
	}
}

// retries is the number of repetitions for an API server that answers "later", in which
// case it has done nothing yet.
const retries = 4

// call makes the request that describe describes, and decodes the answer with read.
func (c *Client) call(ctx context.Context, method string, describe func(*rest.Request) *rest.Request, read func(rest.Result) error) error {
	connected, err := c.connected()
	if err != nil {
		return err
	}
	request := describe(connected.Verb(method)).MaxRetries(retries)
	if err := request.Error(); err != nil {
		return err
	}
	// The library logs calls in another format, and with less information than the
	// errors have.
	ctx = klog.NewContext(ctx, logr.Discard())
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return failure(err, method, request.URL().Path)
	}
	if err := read(result); err != nil {
		return fmt.Errorf("%s %s: %w", strings.ToLower(method), request.URL().Path, err)
	}
	return nil
}

// failure turns an answer of the API server into a StatusError. Errors of the
// connection already name the call.
func failure(err error, method, path string) error {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return err
	}
	status := answered.Status()
	return fmt.Errorf("%s %s: %w", strings.ToLower(method), path, &kubernetes.StatusError{
		Code: int(status.Code), Reason: string(status.Reason), Message: status.Message,
	})
}

// pageSize is how many pods one answer holds.
const pageSize = 500

// pods begins a request about the pods of a namespace. An empty namespace, which would
// mean all namespaces, is refused.
func (c *Client) pods(ctx context.Context, method, namespace string, describe func(*rest.Request) *rest.Request, into any) error {
	if namespace == "" {
		return errors.New("the namespace of a pod is empty")
	}
	return c.call(ctx, method, func(r *rest.Request) *rest.Request {
		return describe(r.Namespace(namespace).Resource("pods"))
	}, func(result rest.Result) error {
		text, err := result.Raw()
		if err != nil {
			return err
		}
		return json.Unmarshal(text, into)
	})
}

// Pods implements kubernetes.Cluster.
func (c *Client) Pods(ctx context.Context, namespace string) ([]kubernetes.Pod, error) {
	pods, token := []kubernetes.Pod{}, ""
	for {
		page, next, err := c.PodPage(ctx, namespace, token)
		if err != nil {
			return nil, err
		}
		pods = append(pods, page...)
		if next == "" {
			return pods, nil
		}
		token = next
	}
}

// PodPage implements kubernetes.Cluster.
func (c *Client) PodPage(ctx context.Context, namespace, token string) (pods []kubernetes.Pod, next string, err error) {
	var page struct {
		meta.ListMeta `json:"metadata"`
		Items         []kubernetes.Pod `json:"items"`
	}
	err = c.pods(ctx, http.MethodGet, namespace, func(r *rest.Request) *rest.Request {
		return r.VersionedParams(&meta.ListOptions{Limit: pageSize, Continue: token}, meta.ParameterCodec)
	}, &page)
	return page.Items, page.Continue, err
}

// Pod implements kubernetes.Cluster.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*kubernetes.Pod, error) {
	var pod kubernetes.Pod
	if err := c.pods(ctx, http.MethodGet, namespace, func(r *rest.Request) *rest.Request { return r.Name(name) }, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// CreatePod implements kubernetes.Cluster.
func (c *Client) CreatePod(ctx context.Context, namespace string, manifest any) (*kubernetes.Pod, error) {
	text, err := json.Marshal(manifest)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest of a pod: %w", err)
	}
	var pod kubernetes.Pod
	err = c.pods(ctx, http.MethodPost, namespace, func(r *rest.Request) *rest.Request {
		return r.SetHeader("Content-Type", "application/json").Body(text)
	}, &pod)
	if err != nil {
		return nil, err
	}
	return &pod, nil
}

// DeletePod implements kubernetes.Cluster.
func (c *Client) DeletePod(ctx context.Context, namespace, name, uid string) error {
	options := meta.NewPreconditionDeleteOptions(uid)
	var ignored json.RawMessage // a Status, or the pod on its way
	return c.pods(ctx, http.MethodDelete, namespace, func(r *rest.Request) *rest.Request { return r.Name(name).Body(options) }, &ignored)
}

// CinderVolume implements kubernetes.Cluster.
func (c *Client) CinderVolume(ctx context.Context, namespace string, v kubernetes.Volume) (*kubernetes.Cinder, error) {
	if v.Claim == nil {
		return v.Cinder, nil
	}
	var claim core.PersistentVolumeClaim
	err := c.get(ctx, &claim, func(r *rest.Request) *rest.Request {
		return r.Namespace(namespace).Resource("persistentvolumeclaims").Name(v.Claim.Name)
	})
	if err != nil || claim.Spec.VolumeName == "" { // not bound yet
		return nil, err
	}
	var volume core.PersistentVolume
	err = c.get(ctx, &volume, func(r *rest.Request) *rest.Request {
		return r.Resource("persistentvolumes").Name(claim.Spec.VolumeName)
	})
	if err != nil {
		return nil, err
	}
	switch source := volume.Spec.PersistentVolumeSource; {
	case source.CSI != nil && source.CSI.Driver == kubernetes.CinderDriver:
		return cinder(source.CSI.VolumeHandle, source.CSI.FSType, source.CSI.ReadOnly), nil
	case source.Cinder != nil:
		return cinder(source.Cinder.VolumeID, source.Cinder.FSType, source.Cinder.ReadOnly), nil
	}
	return nil, nil
}

func (c *Client) get(ctx context.Context, into runtime.Object, describe func(*rest.Request) *rest.Request) error {
	return c.call(ctx, http.MethodGet, describe, func(result rest.Result) error { return result.Into(into) })
}

// cinder returns a Cinder volume source. An API server omits zero values.
func cinder(id, fsType string, readOnly bool) *kubernetes.Cinder {
	volume := &kubernetes.Cinder{VolumeID: id}
	if fsType != "" {
		volume.FSType = &fsType
	}
	if readOnly {
		volume.ReadOnly = &readOnly
	}
	return volume
}
