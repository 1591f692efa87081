// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Names of who has a client certificate. The members of the group system:masters
// may do everything; what the others may do, tests say.
// kubernetes: pkg/apis/rbac, plugin/pkg/auth/authorizer/rbac/bootstrappolicy
var people = map[string][]string{"admin": {"system:masters"}, "karbor": nil, "stranger": nil}

// pair is where a certificate and its key are.
type pair struct{ certificate, key string }

// files is what the API server reads.
type files struct {
	authority string // the certificate that signs all
	accounts  string // the key of the tokens of service accounts
	serving   pair
}

type issuer struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// issue makes all certificates anew, and a kubeconfig file for each of the people,
// in a folder that only this user can read.
func issue(dir, address string) (files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files{}, err
	}
	i := &issuer{dir: dir}
	authority, err := i.sign("ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "karbor test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	if err != nil {
		return files{}, err
	}
	f := files{authority: authority.certificate}
	f.serving, err = i.sign("apiserver", &x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, IPAddresses: []net.IP{net.ParseIP(loopback)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return files{}, err
	}
	accounts, err := i.sign("accounts", &x509.Certificate{Subject: pkix.Name{CommonName: "service accounts"}})
	if err != nil {
		return files{}, err
	}
	f.accounts = accounts.key
	for name, groups := range people {
		own, err := i.sign(name, &x509.Certificate{
			Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return files{}, err
		}
		if err := kubeconfig(filepath.Join(dir, name+".conf"), address, f.authority, own); err != nil {
			return files{}, err
		}
	}
	return f, nil
}

// sign makes a key and a certificate. The first one signs itself, and then all others.
func (i *issuer) sign(name string, template *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	i.serial++
	template.SerialNumber = big.NewInt(i.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	parent, signer := i.certificate, i.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return pair{}, err
	}
	if i.certificate == nil {
		if i.certificate, err = x509.ParseCertificate(der); err != nil {
			return pair{}, err
		}
		i.key = key
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	p := pair{filepath.Join(i.dir, name+".crt"), filepath.Join(i.dir, name+".key")}
	if err := writePEM(p.certificate, "CERTIFICATE", der); err != nil {
		return pair{}, err
	}
	return p, writePEM(p.key, "EC PRIVATE KEY", private)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
