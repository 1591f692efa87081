// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secured starts a server that answers with the name of whose certificate the
// client shows, and returns how to get there.
func secured(t *testing.T) kubernetes.Config {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "karbor"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"metadata": {"name": %q}}`, r.TLS.PeerCertificates[0].Subject.CommonName+r.Header.Get("Authorization"))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return kubernetes.Config{
		Host: server.URL, CAFile: write("ca", "CERTIFICATE", server.Certificate().Raw),
		CertFile: write("cert", "CERTIFICATE", der), KeyFile: write("key", "EC PRIVATE KEY", private),
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cfg := secured(t)
	pod, err := New(cfg).Pod(t.Context(), "default", "x")
	if err != nil || pod.Metadata.Name != "karbor" {
		t.Errorf("got %v, %v", pod, err)
	}
	for name, change := range map[string]func(*kubernetes.Config){
		"reading k8s_ssl_ca_cert: ":                             func(c *kubernetes.Config) { c.CAFile = "/nowhere" },
		"data does not contain any valid RSA or ECDSA":          func(c *kubernetes.Config) { c.CAFile = c.KeyFile },
		"reading k8s_cert_file and k8s_key_file: open /nowhere": func(c *kubernetes.Config) { c.KeyFile = "/nowhere" },
		"reading k8s_cert_file and k8s_key_file: open :":        func(c *kubernetes.Config) { c.CertFile = "" },
		"k8s_host is not configured":                            func(c *kubernetes.Config) { c.Host = "" },
		"k8s_host and kubeconfig are both configured":           func(c *kubernetes.Config) { c.Kubeconfig = "/nowhere" },
		"reading kubeconfig: ":                                  func(c *kubernetes.Config) { c.Host, c.Kubeconfig = "", "/nowhere" },
		"certificate signed by unknown authority":               func(c *kubernetes.Config) { c.CAFile = c.CertFile },
		"server gave HTTP response to HTTPS client":             func(c *kubernetes.Config) { c.Host = plain(t) },
	} {
		broken := cfg
		change(&broken)
		if _, err := New(broken).Pod(t.Context(), "default", "x"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// plain is a server without TLS, under an address that asks for it.
func plain(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http:", "https:", 1)
}

// A file that comes later is found without a restart.
func TestCertificateThatComesLater(t *testing.T) {
	t.Parallel()
	cfg := secured(t)
	there := cfg.KeyFile
	cfg.KeyFile += ".new"
	c := New(cfg)
	if _, err := c.Pod(t.Context(), "default", "x"); err == nil {
		t.Fatal("no error without the key")
	}
	must(t, os.Rename(there, cfg.KeyFile))
	if _, err := c.Pod(t.Context(), "default", "x"); err != nil {
		t.Error(err)
	}
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	cfg := secured(t)
	path := filepath.Join(filepath.Dir(cfg.CAFile), "kubeconfig")
	// Paths are relative to the file.
	must(t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: %q, certificate-authority: ca}}]
users: [{name: u, user: {client-certificate: cert, client-key: key, token: secret}}]
`, cfg.Host), 0o600))
	pod, err := New(kubernetes.Config{Kubeconfig: path}).Pod(t.Context(), "default", "x")
	if err != nil || pod.Metadata.Name != "karborBearer secret" {
		t.Errorf("got %v, %v", pod, err)
	}
}
