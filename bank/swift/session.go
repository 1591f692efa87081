// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/karbor-project/karbor/pkg/httpclient"
)

// session is one identity in Keystone with its connections. The data of a bank and its lease have
// separate sessions.
type session struct {
	cfg  Config
	http http.Client
	// transport holds the connections of http.
	transport *http.Transport

	// turn holds the current login. A goroutine that takes the login out may replace it, so that
	// only one goroutine authenticates and the others wait.
	turn chan *login
}

// login is a token and the URL of its account.
type login struct{ token, account string }

func newSession(cfg Config, transport *http.Transport) *session {
	s := &session{cfg: cfg, http: httpclient.New(transport), transport: transport, turn: make(chan *login, 1)}
	s.turn <- nil
	return s
}

func newTransport(cfg Config) (*http.Transport, error) {
	trust := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: cfg.Insecure, //nolint:gosec // the operator asks for it
	}
	if cfg.CACertFile != "" {
		pem, err := os.ReadFile(cfg.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("swift bank: swift_ca_cert_file: %w", err)
		}
		if trust.RootCAs, err = x509.SystemCertPool(); err != nil {
			trust.RootCAs = x509.NewCertPool()
		}
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("swift bank: swift_ca_cert_file %s holds no certificate", cfg.CACertFile)
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     trust,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        cfg.MaxRequests,
		MaxIdleConnsPerHost: cfg.MaxRequests,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // bodies must arrive as they are stored
	}, nil
}

// loginTimeout bounds a login, since all requests wait for it.
const loginTimeout = 30 * time.Second

var errLoginTimeout = fmt.Errorf("no answer within %s", loginTimeout)

// login returns a login other than stale, the login with which a request was refused. It
// authenticates if there is none.
func (s *session) login(ctx context.Context, stale *login) (*login, error) {
	var current *login
	select {
	case current = <-s.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { s.turn <- current }()
	if current != nil && current != stale {
		return current, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loginTimeout, errLoginTimeout)
	defer cancel()
	fresh, err := s.authenticate(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, &authError{url: s.cfg.AuthURL, cause: err}
	}
	current = fresh
	return current, nil
}

// authenticate gets a Keystone v3 token for the project, and the first public endpoint of type
// object-store in its catalog.
//
// karbor: clients/swift.py create, swift_bank_plugin.py _setup_connection
func (s *session) authenticate(ctx context.Context) (*login, error) {
	client, err := openstack.NewClient(s.cfg.AuthURL)
	if err != nil {
		return nil, err
	}
	client.HTTPClient = s.http
	err = openstack.AuthenticateV3(ctx, client, &gophercloud.AuthOptions{
		Username:   s.cfg.User,
		Password:   s.cfg.Key,
		DomainName: s.cfg.UserDomainName,
		Scope:      &gophercloud.AuthScope{ProjectName: s.cfg.Tenant, DomainName: s.cfg.ProjectDomainName},
	}, gophercloud.EndpointOpts{})
	if err != nil {
		return nil, err
	}
	result, ok := client.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return nil, errors.New("no token in the answer")
	}
	catalog, err := result.ExtractServiceCatalog()
	if err != nil {
		return nil, err
	}
	for _, entry := range catalog.Entries {
		for _, endpoint := range entry.Endpoints {
			if entry.Type == "object-store" && endpoint.Interface == "public" {
				return &login{token: client.Token(), account: strings.TrimRight(endpoint.URL, "/")}, nil
			}
		}
	}
	return nil, errNoEndpoint
}

var errNoEndpoint = errors.New("the catalog has no public endpoint of type object-store")

// authError is a failed authentication.
type authError struct {
	url   string
	cause error
}

func (e *authError) Error() string {
	var status gophercloud.ErrUnexpectedResponseCode
	if errors.As(e.cause, &status) {
		return fmt.Sprintf("authentication at %s failed: %d %s", e.url, status.Actual, http.StatusText(status.Actual))
	}
	return fmt.Sprintf("authentication at %s failed: %v", e.url, e.cause)
}

func (e *authError) Unwrap() error { return e.cause }

// temporary reports whether a second attempt may help.
func (e *authError) temporary() bool {
	var status gophercloud.ErrUnexpectedResponseCode
	if errors.As(e.cause, &status) {
		return temporaryStatus(status.Actual)
	}
	var redirect *httpclient.RedirectError
	return !errors.Is(e.cause, errNoEndpoint) && !errors.As(e.cause, &redirect)
}

func (s *session) close() { s.http.CloseIdleConnections() }

// makeContainer creates a container, unless it exists.
func (s *session) makeContainer(ctx context.Context, container string, retries int) error {
	res, err := s.do(ctx, request{method: http.MethodPut, path: containerPath(container)}, retries)
	if err != nil {
		return err
	}
	res.finish()
	return nil
}
