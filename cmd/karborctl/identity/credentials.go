// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// credentials are what a login needs.
type credentials struct {
	auth gophercloud.AuthOptions
	tls  *tls.Config
}

// envCloud is the name that openstacksdk gives to the environment.
const envCloud = "envvars"

// defaultDomain is the id of the domain that users and projects are in when
// nothing says which. keystone: conf/identity.py default_domain_id
const defaultDomain = "default"

// credentials turns an entry into the options of a login.
func (e *entry) credentials(o Options) (*credentials, error) {
	get := func(name string) string { return e.auth[name] }
	if get("auth_url") == "" {
		if profile := text(e.config["profile"]) + text(e.config["cloud"]); profile != "" {
			return nil, fmt.Errorf("cloud %s: there is no auth_url, and no profile %s in clouds-public.yaml", e.name, profile)
		}
		return nil, fmt.Errorf("cloud %s: there is no auth_url", e.name)
	}
	auth := gophercloud.AuthOptions{IdentityEndpoint: get("auth_url"), Scope: e.scope()}
	kind := e.kind()
	if kind == "password" {
		// What nobody asked for otherwise: the other credentials say how.
		switch user := get("username") + get("user_id"); {
		case get("application_credential_id") != "", get("application_credential_secret") != "" && get("password") == "":
			kind = "v3applicationcredential"
		case user == "" && get("token") != "":
			kind = "token"
		}
	}
	switch kind {
	case "password", "v3password", "v3totp":
		auth.Password, auth.Passcode = get("password"), get("passcode")
		e.user(&auth)
		if auth.Username == "" && auth.UserID == "" {
			return nil, fmt.Errorf("cloud %s: there is no username", e.name)
		}
	case "token", "v3token":
		if auth.TokenID = get("token"); auth.TokenID == "" {
			return nil, fmt.Errorf("cloud %s: there is no token", e.name)
		}
	case "v3applicationcredential":
		auth.Scope = nil
		auth.ApplicationCredentialID = get("application_credential_id")
		auth.ApplicationCredentialSecret = get("application_credential_secret")
		if auth.ApplicationCredentialID == "" {
			auth.ApplicationCredentialName = get("application_credential_name")
			e.user(&auth)
		}
		if auth.ApplicationCredentialSecret == "" || auth.ApplicationCredentialID+auth.ApplicationCredentialName == "" {
			return nil, fmt.Errorf("cloud %s: the application credential needs its secret, and its id or name", e.name)
		}
	default:
		return nil, fmt.Errorf("cloud %s: auth_type %q cannot be used here: want password, token, v3applicationcredential or none", e.name, kind)
	}
	secure, err := e.tls(o.Getenv("HOME"))
	return &credentials{auth: auth, tls: secure}, err
}

// user fills in the user who logs in, by one name and one domain.
func (e *entry) user(auth *gophercloud.AuthOptions) {
	if auth.UserID = e.auth["user_id"]; auth.UserID != "" {
		return
	}
	auth.Username = e.auth["username"]
	auth.DomainID, auth.DomainName = e.domain("user_domain")
}

// domain returns the domain of a user or project, by id or by name.
func (e *entry) domain(of string) (id, name string) {
	for _, prefix := range []string{of, "default_domain"} {
		if id := e.auth[prefix+"_id"]; id != "" {
			return id, ""
		}
		if name := e.auth[prefix+"_name"]; name != "" {
			return "", name
		}
	}
	return defaultDomain, ""
}

// scope returns what the token is to be good for, nil for what Keystone decides.
func (e *entry) scope() *gophercloud.AuthScope {
	get := func(name string) string { return e.auth[name] }
	switch {
	case get("trust_id") != "":
		return &gophercloud.AuthScope{TrustID: get("trust_id")}
	case get("system_scope") != "":
		return &gophercloud.AuthScope{System: true}
	case get("project_id") != "":
		return &gophercloud.AuthScope{ProjectID: get("project_id")}
	case get("project_name") != "":
		id, name := e.domain("project_domain")
		return &gophercloud.AuthScope{ProjectName: get("project_name"), DomainID: id, DomainName: name}
	case get("domain_id") != "":
		return &gophercloud.AuthScope{DomainID: get("domain_id")}
	case get("domain_name") != "":
		return &gophercloud.AuthScope{DomainName: get("domain_name")}
	}
	return nil
}

// tls returns how Keystone is trusted, and what we show it.
func (e *entry) tls(home string) (*tls.Config, error) {
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			return filepath.Join(home, rest)
		}
		return path
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	check, authorities := e.verify()
	secure.InsecureSkipVerify = !check //nolint:gosec // the user asks for it
	if authorities != "" {
		pem, err := os.ReadFile(expand(authorities))
		if err != nil {
			return nil, fmt.Errorf("cloud %s: cacert: %w", e.name, err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cloud %s: cacert %s holds no certificate", e.name, authorities)
		}
	}
	if cert := expand(text(e.config["cert"])); cert != "" {
		key := expand(text(e.config["key"]))
		if key == "" {
			key = cert // both in one file
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cloud %s: %w", e.name, errors.Join(errors.New("cert and key"), err))
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	return secure, nil
}
