// SPDX-License-Identifier: Apache-2.0

// Package kubernetes is the little of the Kubernetes API that the plugins for
// pods need, over plain REST with a client certificate. One identity serves all
// tenants, as in the original: the cluster does not know OpenStack's projects.
//
// Objects are read into types of a few fields, or kept as the JSON that they are,
// so that fields of later versions of the API survive.
package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

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

// Wrapped returns a client whose calls go through what wrap puts around the
// transport.
func (c *Client) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Client {
	return &Client{cfg: c.cfg, http: sync.OnceValues(func() (*http.Client, error) {
		plain, err := c.http()
		if err != nil {
			return nil, err
		}
		return &http.Client{Timeout: plain.Timeout, Transport: wrap(plain.Transport)}, nil
	})}
}

// Close ends the idle connections.
func (c *Client) Close() {
	if client, err := c.http(); err == nil {
		client.CloseIdleConnections()
	}
}
