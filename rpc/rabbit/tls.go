// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsVersions are the names of ssl_version; the others negotiate.
var tlsVersions = map[string]uint16{
	"TLSv1":   tls.VersionTLS10,
	"TLSv1_1": tls.VersionTLS11,
	"TLSv1_2": tls.VersionTLS12,
}

// tlsConfig is nil when TLS is off. As in oslo.messaging the broker is verified
// only when an authority is given.
func (o *Options) tlsConfig() (*tls.Config, error) {
	if !o.SSL {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if v, ok := tlsVersions[o.SSLVersion]; ok {
		c.MinVersion, c.MaxVersion = v, v
	}
	if (o.SSLCertFile == "") != (o.SSLKeyFile == "") {
		return nil, errors.New("ssl_cert_file and ssl_key_file need each other")
	}
	if o.SSLCertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.SSLCertFile, o.SSLKeyFile)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate: %w", err)
		}
		// It is shown whatever authorities the broker names, as Python shows it: the
		// broker may trust the issuer without naming it, and else says why it refuses.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if o.SSLCAFile == "" {
		c.InsecureSkipVerify = true
		return c, nil
	}
	pem, err := os.ReadFile(o.SSLCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading ssl_ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ssl_ca_file %s holds no certificate", o.SSLCAFile)
	}
	if !o.SSLVerifyHostname {
		c.InsecureSkipVerify = true
		c.VerifyConnection = verifyChain(c.RootCAs)
	}
	return c, nil
}

// verifyChain checks everything about the broker's certificate but its name.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the broker shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}
