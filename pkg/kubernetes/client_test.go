// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return New(Config{Host: server.URL + "/"})
}

func TestPods(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/default/pods" || r.URL.Query().Get("limit") != "500" {
			t.Errorf("asked for %s", r.URL)
		}
		if r.URL.Query().Get("continue") == "" {
			_, _ = io.WriteString(w, `{"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"metadata": {}, "items": [{"metadata": {"name": "b"}, "status": {"phase": "Running"}}]}`)
	})
	pods, err := c.Pods(t.Context(), "default")
	if err != nil || len(pods) != 2 || pods[1].Metadata.Name != "b" || pods[1].Status.Phase != "Running" {
		t.Errorf("got %v, %v", pods, err)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"metadata": {"name": %q}}`, r.URL.EscapedPath())
	})
	pod, err := c.Pod(t.Context(), "..", "a/b")
	if err != nil || !strings.HasSuffix(pod.Metadata.Name, "/pods/a%2Fb") {
		t.Errorf("got %v, %v", pod, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status     int
		body, want string
	}{
		"status object": {403, `{"kind": "Status", "message": "pods is forbidden"}`, "pods is forbidden (HTTP 403)"},
		"no body":       {500, ``, "Internal Server Error (HTTP 500)"},
		"not found":     {404, `{"message": "pods \"x\" not found"}`, `pods "x" not found (HTTP 404)`},
		"no JSON":       {200, `<html>`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := c.Pod(t.Context(), "default", "x")
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, ErrNotFound) != (tc.status == 404) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "karbor"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"metadata": {"name": %q}}`, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)

	cfg := Config{
		Host: server.URL, CAFile: write("ca", "CERTIFICATE", server.Certificate().Raw),
		CertFile: write("cert", "CERTIFICATE", der), KeyFile: write("key", "EC PRIVATE KEY", private),
	}
	pod, err := New(cfg).Pod(t.Context(), "default", "x")
	if err != nil || pod.Metadata.Name != "karbor" {
		t.Errorf("got %v, %v", pod, err)
	}
	for name, change := range map[string]func(*Config){
		"k8s_ssl_ca_cert": func(c *Config) { c.CAFile = "/nowhere" },
		"no certificate":  func(c *Config) { c.CAFile = c.KeyFile },
		"k8s_key_file":    func(c *Config) { c.KeyFile = "/nowhere" },
		"not configured":  func(c *Config) { c.Host = "" },
	} {
		broken := cfg
		change(&broken)
		if _, err := New(broken).Pod(t.Context(), "default", "x"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
