// SPDX-License-Identifier: Apache-2.0

// Package openstack makes clients of OpenStack services that act for the caller
// of a request: with the caller's token, accompanied by a token of the service
// itself so that long operations outlive the former, at the endpoint that
// karbor's rules select.
package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// UserAgent is the user agent of this service's requests.
const UserAgent = "karbor-protection"

// Factory makes service clients. It is safe for concurrent use. A process needs only
// one, because the Factory owns the connections and the service token.
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

// New returns a factory. It makes no calls: the first client that needs a wrong CA file
// or identity returns the error.
func New(cfg Config, log logrus.FieldLogger) *Factory {
	log = telemetry.OrDiscard(log)
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

// Metrics returns the metrics of all calls, including logins at Keystone.
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

// ErrUnknownService is the error for a service name without a client.
var ErrUnknownService = errors.New("no service of that name is known")

// Endpoint returns the URL of a service by karbor's name for it, such as "nova": the
// configured URL or the one that Keystone returns to the service's own identity, with
// its placeholders. Errors: ErrUnknownService, ErrNoService.
func (f *Factory) Endpoint(ctx context.Context, name string) (string, error) {
	i := slices.IndexFunc(services, func(s service) bool { return s.name == name })
	if i < 0 {
		return "", ErrUnknownService
	}
	cfg := f.cfg.service(services[i])
	if cfg.Endpoint != "" {
		return cfg.Endpoint, nil
	}
	return f.directory.lookup(ctx, services[i], cfg)
}

// client assembles a client: endpoint, token and the chain of transports.
// karbor: services/protection/client_factory.py
func (f *Factory) client(ctx context.Context, s service) (*gophercloud.ServiceClient, error) {
	caller := requestcontext.From(ctx)
	endpoint, trusted, err := f.endpoint(ctx, caller, s)
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
		HTTPClient: httpclient.New(f.transport(&endpointCheck{origin: httpclient.Origin(base), next: &headers{
			requestID: forwardedID(caller),
			tokens:    tokens,
			trusted:   trusted,
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

// WithMicroversion returns a client whose calls ask for the given microversion instead
// of the configured one. It is for a call whose request or answer has the form of that
// microversion.
func WithMicroversion(client *gophercloud.ServiceClient, version string) *gophercloud.ServiceClient {
	c := *client
	c.Microversion = version
	return &c
}

// forwardedID is the request id by which the called service links its log to ours.
func forwardedID(caller *requestcontext.RequestContext) string {
	if caller.GlobalRequestID != "" {
		return caller.GlobalRequestID
	}
	return caller.RequestID
}

// endpoint selects the URL of a service for a caller: the configured one, then the one
// in the caller's catalogue, then the one that Keystone returns to the service's own
// identity. The URL ends with a slash. It is trusted if nothing but the project's id
// comes from the caller. The reason why a step had no result is only logged; the error
// names the service.
// karbor: services/protection/clients/utils.py get_url
func (f *Factory) endpoint(ctx context.Context, caller *requestcontext.RequestContext, s service) (endpoint string, trusted bool, err error) {
	if err := checkProject(caller.ProjectID); err != nil {
		return "", false, err
	}
	cfg := f.cfg.service(s)
	if cfg.Endpoint != "" {
		url, substituted := substitute(cfg.Endpoint, caller.ProjectID)
		url = strings.TrimRight(url, "/")
		if s.perProject && !substituted {
			url += "/" + caller.ProjectID
		}
		return url + "/", true, nil
	}
	url, err := fromCatalogs(caller, s, cfg)
	if err != nil {
		f.log.WithField("service", s.name).Debugf("no endpoint in the caller's catalogue: %v", err)
		url, err = f.directory.lookup(ctx, s, cfg)
		trusted = true
	}
	if err != nil {
		f.log.WithField("service", s.name).Debugf("no endpoint in Keystone: %v", err)
		return "", false, fault.KarborException("Couldn't find the endpoint of service(" + s.name + ")").WithCause(err)
	}
	url, _ = substitute(url, caller.ProjectID)
	return strings.TrimRight(url, "/") + "/", trusted, nil
}

// fromCatalogs looks for the service in the caller's catalogue, and then in that of the
// caller's token, from which karbor-api leaves out types that it does not know. The
// configured types come first, then the official type and its aliases; the name does
// not matter. If there are several endpoints, the region selects one.
// karbor: context.py
func fromCatalogs(caller *requestcontext.RequestContext, s service, cfg ServiceConfig) (string, error) {
	parts := strings.Split(cfg.CatalogInfo, ":")
	if len(parts) != 3 {
		return "", fmt.Errorf("Failed to parse the catalog info option %s, must be in the form: <service_type>:<service_name>:<endpoint_type>", cfg.CatalogInfo) //nolint:staticcheck // operators know this text
	}
	configured := []string{cfg.ServiceType, parts[0]}
	tokenCatalog := sync.OnceValue(caller.TokenCatalog)
	for _, kind := range s.types(configured...) {
		for _, catalog := range []func() []requestcontext.Service{func() []requestcontext.Service { return caller.ServiceCatalog }, tokenCatalog} {
			url := fromCatalog(catalog(), kind, cfg.RegionID, parts[2])
			if url != "" && (slices.Contains(configured, kind) || !s.hasOtherVersion(url)) {
				return url, nil
			}
		}
	}
	return "", fmt.Errorf("no entry of type %s with a %s", parts[0], parts[2])
}

// fromCatalog returns a URL from the first entry of a type that has endpoints, or "".
func fromCatalog(catalog []requestcontext.Service, kind, region, name string) string {
	for _, entry := range catalog {
		if entry.Type != kind || len(entry.Endpoints) == 0 {
			continue
		}
		i := slices.IndexFunc(entry.Endpoints, func(e requestcontext.Endpoint) bool { return e.Region == region })
		return interfaceURL(entry.Endpoints[max(i, 0)], name)
	}
	return ""
}

func interfaceURL(e requestcontext.Endpoint, name string) string {
	switch name {
	case "publicURL":
		return e.PublicURL
	case "internalURL":
		return e.InternalURL
	case "adminURL":
		return e.AdminURL
	}
	return ""
}

// substitute replaces the project id's placeholders that Keystone's endpoints may have,
// and reports whether there were any.
// keystone: catalog/core.py format_url
func substitute(url, projectID string) (string, bool) {
	filled := strings.NewReplacer(
		"$(tenant_id)s", projectID, "%(tenant_id)s", projectID,
		"$(project_id)s", projectID, "%(project_id)s", projectID,
	).Replace(url)
	return filled, filled != url
}

// versioned returns any form of Keystone's URL with /v3 at the end.
func versioned(url string) string {
	url = strings.TrimRight(url, "/")
	if url == "" || strings.HasSuffix(url, "/v3") {
		return url
	}
	return strings.TrimSuffix(url, "/v2.0") + "/v3"
}

// Wrapped returns a factory that shares everything with f, but whose clients send each
// call through wrap(transport), where the transport includes the retries. Logins at
// Keystone are not wrapped. Tests use it to inject faults. Close f, not the result.
func (f *Factory) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Factory {
	wrapped := *f
	wrapped.wrap = wrap
	return &wrapped
}

func (f *Factory) transport(chain http.RoundTripper) http.RoundTripper {
	if f.wrap == nil {
		return chain
	}
	return f.wrap(chain)
}

// keystone returns a client that acts as the service itself.
func (f *Factory) keystone(ctx context.Context) (*gophercloud.ServiceClient, error) {
	base := f.cfg.keystoneURL()
	if base == "" {
		base = versioned(f.cfg.Trustee.AuthURL)
	}
	transport, err := f.keystoneHTTP()
	if err != nil {
		return nil, err
	}
	token, err := f.identity.Token(ctx, "")
	if err != nil {
		return nil, err
	}
	provider := &gophercloud.ProviderClient{
		TokenID:    token,
		HTTPClient: httpclient.New(transport),
	}
	provider.ReauthFunc = func(ctx context.Context) error {
		fresh, err := f.identity.Token(ctx, provider.Token())
		if err == nil {
			provider.SetToken(fresh)
		}
		return err
	}
	provider.UserAgent.Prepend(UserAgent)
	provider.UseTokenLock()
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: base + "/", Type: "identity"}, nil
}

// keystoneHTTP returns the HTTP client for Keystone that [keystone_authtoken]
// describes. The only POST it sends is a login, which may be repeated.
func (f *Factory) keystoneHTTP() (http.RoundTripper, error) {
	transport, err := f.transports.get(f.cfg.Keystone.CAFile, f.cfg.Keystone.Insecure)
	if err != nil {
		return nil, err
	}
	meter := f.meters[keystoneName]
	return &retry{policy: f.retry, meter: meter, safePosts: true, next: &metered{meter: meter, next: transport}}, nil
}
