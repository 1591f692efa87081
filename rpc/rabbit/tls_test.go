// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// certificate makes a self-signed one for a name and writes it to a file.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

// A listener that shakes hands in TLS and hangs up shows how far a dialer got.
func TestChecklist07_CertificatesAreVerified(t *testing.T) {
	t.Parallel()
	local, localFile := certificate(t, "localhost")
	elsewhere, elsewhereFile := certificate(t, "elsewhere")
	for name, row := range map[string]struct {
		shown   tls.Certificate
		options []string
		refused bool
	}{
		"no authority":                {elsewhere, nil, false},
		"authority and name":          {local, []string{"ssl_ca_file=" + localFile}, false},
		"another authority":           {local, []string{"ssl_ca_file=" + elsewhereFile}, true},
		"another name":                {elsewhere, []string{"ssl_ca_file=" + elsewhereFile}, true},
		"another name, not looked at": {elsewhere, []string{"ssl_ca_file=" + elsewhereFile, "ssl_enforce_hostname_verification=no"}, false},
		"another authority, no name":  {local, []string{"ssl_ca_file=" + elsewhereFile, "ssl_enforce_hostname_verification=no"}, true},
		"one version":                 {local, []string{"ssl_version=TLSv1_2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := DefaultOptions()
			for _, option := range append(row.options, "ssl=1") {
				key, value, _ := strings.Cut(option, "=")
				if err := o.Set(key, value); err != nil {
					t.Fatal(err)
				}
			}
			config, err := tlsConfig(&o)
			if err != nil {
				t.Fatal(err)
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{row.shown}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			served := make(chan struct{})
			go func() {
				defer close(served)
				if c, err := l.Accept(); err == nil {
					_ = c.(*tls.Conn).Handshake()
					_ = c.Close()
				}
			}()
			d := newDialer(&rpc.TransportURL{VirtualHost: "/"}, &o, config)
			h := rpc.Host{Name: "localhost", Port: l.Addr().(*net.TCPAddr).Port, User: "u", Password: "p"}
			_, err = d.dial(context.Background(), h)
			if err == nil || strings.Contains(err.Error(), "TLS handshake") != row.refused {
				t.Errorf("error is %v", err)
			}
			<-served
		})
	}
}
