// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// answerTimeout bounds the wait for the first byte of an answer after a request
// was sent whole. Bodies of any length may follow.
const answerTimeout = 5 * time.Minute

// transports keeps one pool of connections for each way of verifying a server.
type transports struct {
	mu    sync.Mutex
	pools map[trust]*http.Transport
}

type trust struct {
	caFile   string
	insecure bool
}

func newTransports() *transports { return &transports{pools: map[trust]*http.Transport{}} }

// get returns the pool for a CA bundle, "" being the system's store. The bundle
// is read once.
func (t *transports) get(caFile string, insecure bool) (http.RoundTripper, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := trust{caFile: caFile, insecure: insecure}
	if insecure {
		key.caFile = ""
	}
	if pool, ok := t.pools[key]; ok {
		return pool, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure} //nolint:gosec // the operator asked for it
	if key.caFile != "" {
		pem, err := os.ReadFile(key.caFile)
		if err != nil {
			return nil, fmt.Errorf("reading CA bundle: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading CA bundle %s: no certificate in it", key.caFile)
		}
	}
	pool := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       settings,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: answerTimeout,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   DefaultMaxCalls,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		// Images are streamed unchanged: a client that decompresses them in transit
		// would see other bytes than the checksum covers.
		DisableCompression: true,
	}
	t.pools[key] = pool
	return pool, nil
}

func (t *transports) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pool := range t.pools {
		pool.CloseIdleConnections()
	}
}
