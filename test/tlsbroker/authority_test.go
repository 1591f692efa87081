// SPDX-License-Identifier: Apache-2.0

package tlsbroker

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a root that is trusted and an issuer below it that signs, as a
// company's own authority usually is: peers must send, and check, a chain.
type authority struct {
	root   string // file of the root alone
	bundle string // file of root and issuer
	issuer *x509.Certificate
	key    *ecdsa.PrivateKey
}

// identity is a certificate with its chain up to the root, and its key, in files.
type identity struct{ certificate, key string }

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	rootTemplate, issuerTemplate := template(name+" root"), template(name+" issuer")
	for _, c := range []*x509.Certificate{rootTemplate, issuerTemplate} {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	rootKey, issuerKey := newKey(t), newKey(t)
	root := sign(t, rootTemplate, rootTemplate, rootKey, rootKey)
	issuer := sign(t, issuerTemplate, root, issuerKey, rootKey)
	return &authority{
		root:   file(t, "root.pem", certificates(root)),
		bundle: file(t, "bundle.pem", certificates(root, issuer)),
		issuer: issuer, key: issuerKey,
	}
}

// issue makes a certificate of a name, which is a host's for a broker and a
// user's for a client.
func (a *authority) issue(t *testing.T, name string) identity {
	t.Helper()
	key := newKey(t)
	c := template(name)
	c.DNSNames = []string{name}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return identity{
		certificate: file(t, name+".pem", certificates(sign(t, c, a.issuer, key, a.key), a.issuer)),
		key:         file(t, name+"-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, c, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func certificates(all ...*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, c := range all {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.Bytes()
}

// file writes a file of its own folder.
func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
