// SPDX-License-Identifier: Apache-2.0

// Package kubernetes is the little of the Kubernetes API that the plugins for
// pods need, over plain REST with a client certificate. One identity serves all
// tenants, as in the original: the cluster does not know OpenStack's projects.
package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// ErrNotFound is in the chain of errors about objects that do not exist.
var ErrNotFound = errors.New("not found")

// Config is the [k8s_client] section of karbor.conf.
type Config struct {
	Host     string // full URL of the API server
	CAFile   string
	CertFile string
	KeyFile  string
}

// Client calls one API server. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http func() (*http.Client, error)
}

// New returns a client. It reads the files of the certificates at the first
// call, so that a cluster that nobody protects needs none.
func New(cfg Config) *Client {
	return &Client{cfg: cfg, http: sync.OnceValues(func() (*http.Client, error) { return connect(cfg) })}
}

func connect(cfg Config) (*http.Client, error) {
	if cfg.Host == "" {
		return nil, errors.New("k8s_host is not configured")
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read k8s_ssl_ca_cert: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read k8s_ssl_ca_cert: no certificate in %s", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read k8s_cert_file and k8s_key_file: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second},
	}, nil
}

// get reads one object or list. Path parts are escaped.
func (c *Client) get(ctx context.Context, v any, query url.Values, parts ...string) error {
	client, err := c.http()
	if err != nil {
		return err
	}
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = url.PathEscape(part)
	}
	path := "/api/v1/" + strings.Join(escaped, "/")
	address := strings.TrimRight(c.cfg.Host, "/") + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %w", path, failure(resp))
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	return nil
}

// failure reads the Status object that the API server answers with.
func failure(resp *http.Response) error {
	var status struct {
		Message string `json:"message"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = http.StatusText(resp.StatusCode)
	}
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s (HTTP 404): %w", status.Message, ErrNotFound)
	}
	return fmt.Errorf("%s (HTTP %d)", status.Message, resp.StatusCode)
}
