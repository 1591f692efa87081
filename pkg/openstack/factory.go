// SPDX-License-Identifier: Apache-2.0

// Package openstack makes clients of OpenStack services that act for the caller
// of a request: with the caller's token, accompanied by a token of the service
// itself so that long operations outlive the former, at the endpoint that
// karbor's rules select.
package openstack

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// UserAgent is what this service calls itself to others.
const UserAgent = "karbor-protection"

// Factory makes service clients. It is safe for concurrent use; one serves the
// whole process, since it owns the connections and the service token.
type Factory struct {
	cfg        Config
	log        logrus.FieldLogger
	transports *transports
	identity   *identity // nil without [trustee]
	directory  *directory
	limits     map[string]*limiter
	metrics    *Metrics
	meters     map[string]*meter
	retry      retryPolicy
	stall      time.Duration
	wrap       func(http.RoundTripper) http.RoundTripper // nil: as it is
}

// New makes a factory. It calls nobody: a wrong CA file or identity is the error
// of the first client that needs it.
func New(cfg Config, log logrus.FieldLogger) *Factory {
	if log == nil {
		discard := logrus.New()
		discard.SetOutput(io.Discard)
		log = discard
	}
	f := &Factory{cfg: cfg, log: log, transports: newTransports(), limits: map[string]*limiter{}, metrics: newMetrics(), meters: map[string]*meter{}, retry: defaultRetryPolicy(), stall: stallTimeout}
	for _, s := range services {
		f.limits[s.name] = newLimiter(cfg.service(s).MaxCalls)
		f.meters[s.name] = f.metrics.of(s.name)
	}
	f.meters[keystoneName] = f.metrics.of(keystoneName)
	if cfg.Trustee != nil {
		f.identity = newIdentity(*cfg.Trustee, f.keystoneHTTP, log)
	}
	f.directory = newDirectory(f)
	return f
}

// Close ends the idle connections. Clients that are in use keep working.
func (f *Factory) Close() { f.transports.closeIdle() }

// Metrics are those of all calls, logins at Keystone included.
func (f *Factory) Metrics() *Metrics { return f.metrics }

// Compute returns a Nova client for the caller of ctx.
func (f *Factory) Compute(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, nova)
}

// BlockStorage returns a Cinder client for the caller of ctx, with the configured
// microversion or 3.43.
func (f *Factory) BlockStorage(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, cinder)
}

// Image returns a Glance v2 client for the caller of ctx.
func (f *Factory) Image(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, glance)
}

// Network returns a Neutron v2.0 client for the caller of ctx.
func (f *Factory) Network(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, neutron)
}

// Share returns a Manila v2 client for the caller of ctx.
func (f *Factory) Share(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, manila)
}

// Database returns a Trove v1 client for the caller of ctx.
func (f *Factory) Database(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, trove)
}

// Backup returns a Freezer client for the caller of ctx. Freezer gets no service
// token: its API does not know it.
func (f *Factory) Backup(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return f.client(ctx, freezer)
}

// client puts a client together: endpoint, token and the chain of transports.
// karbor: services/protection/client_factory.py
func (f *Factory) client(ctx context.Context, s service) (*gophercloud.ServiceClient, error) {
	caller := requestcontext.From(ctx)
	endpoint, own, err := f.endpoint(ctx, caller, s)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, fault.KarborException("The endpoint of service(" + s.name + ") is not a URL").WithCause(err)
	}
	session := caller.AuthTokenInfo != nil
	if s.needsSession && !session {
		return nil, fault.InvalidParameterValue("The parameter session is None.")
	}
	cfg := f.cfg.service(s)
	transport, err := f.transports.get(cfg.CAFile, cfg.Insecure)
	if err != nil {
		return nil, fault.KarborException("The CA file of the " + s.name + " client cannot be used").WithCause(err)
	}
	var tokens *identity
	if session && s.name != freezer.name {
		tokens = f.identity
	}
	meter := f.meters[s.name]
	provider := &gophercloud.ProviderClient{
		TokenID: caller.AuthToken,
		HTTPClient: httpclient.New(f.transport(&addressed{origin: httpclient.Origin(base), next: &headers{
			requestID: forwardedID(caller),
			tokens:    tokens,
			own:       own,
			next: &retry{policy: f.retry, meter: meter, next: &limited{
				limiter: f.limits[s.name],
				meter:   meter,
				next:    &metered{meter: meter, next: &stall{timeout: f.stall, next: httpclient.Redacted(guard.Transport(transport))}},
			}},
		}})),
		RetryFunc: translate(s),
	}
	provider.UserAgent.Prepend(UserAgent)
	provider.UseTokenLock()
	client := &gophercloud.ServiceClient{
		ProviderClient: provider,
		Endpoint:       endpoint,
		Type:           s.clientType,
		Microversion:   cmp.Or(cfg.Microversion, s.microversion),
	}
	if s.version != "" && !strings.HasSuffix(endpoint, "/"+s.version+"/") {
		client.ResourceBase = endpoint + s.version + "/"
	}
	return client, nil
}

// forwardedID is the id by which the called service links its log to ours.
func forwardedID(caller *requestcontext.RequestContext) string {
	if caller.GlobalRequestID != "" {
		return caller.GlobalRequestID
	}
	return caller.RequestID
}
