// SPDX-License-Identifier: Apache-2.0

// Package client is the way to a Kubernetes cluster: client-go's REST client with
// the few types that the plugins for pods need, and not its set of clients for
// every API that there is. No other package of the service imports Kubernetes'
// libraries.
package client

import (
	"fmt"
	"net/http"
	"sync"

	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

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

// New returns a client. It reads the files that the configuration names at the
// first call, so that a cluster that nobody protects needs none.
func New(cfg kubernetes.Config) *Client { return &Client{cfg: cfg} }

// Wrapped returns a client for the same cluster whose calls go through what wrap
// puts around the transport.
func (c *Client) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Client {
	return &Client{cfg: c.cfg, wrap: wrap}
}

// connected makes the REST client. What was missing may be there the next time.
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
		return nil, fmt.Errorf("configure the client for Kubernetes: %w", err)
	}
	web := httpclient.New(guard.Transport(base))
	web.Timeout = settings.Timeout
	if c.wrap != nil { // not by the settings, which the library keeps as long as it has not seen that nobody has base
		web.Transport = c.wrap(web.Transport)
	}
	made, err := rest.RESTClientForConfigAndClient(settings, &web)
	if err != nil {
		return nil, fmt.Errorf("configure the client for Kubernetes: %w", err)
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
