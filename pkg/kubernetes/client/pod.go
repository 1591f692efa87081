// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// pageSize is how many pods one answer holds.
const pageSize = 500

// pods begins a request about the pods of a namespace. An empty one would be all
// namespaces.
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
		return nil, fmt.Errorf("write the manifest of a pod: %w", err)
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
