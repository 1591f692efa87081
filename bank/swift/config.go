// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
)

// Config of a bank. Times are in whole seconds in a provider's file.
type Config struct {
	AuthURL           string // of Keystone, with or without /v3
	User              string
	Key               string // the password
	Tenant            string // name of the project
	ProjectDomainName string
	UserDomainName    string
	Container         string // of the objects; leases have their own container

	RetryAttempts int           // after the first attempt
	RetryBackoff  time.Duration // before the first retry, doubled for each further one

	CACertFile string // trusted besides the system's authorities
	Insecure   bool   // trust any certificate

	LeaseExpireWindow, RenewWindow, ValidityWindow time.Duration

	// Limits that no provider's file sets. Zero values are usable.
	StallTimeout time.Duration // a transfer without progress fails; 0: 2 min
	PageSize     int           // keys of one listing request; 0: 10000
	MaxRequests  int           // concurrent requests, and as many downloads; 0: 64
}

const (
	clientGroup = "swift_client"
	bankGroup   = "swift_bank_plugin"
)

// Options are the options of the bank in a provider's file.
//
// karbor: services/protection/clients/swift.py and
// bank_plugins/swift_bank_plugin.py
var Options = []config.Option{
	{Group: clientGroup, Name: "swift_endpoint", Kind: config.String,
		Help: "Accepted for old files and without effect: the endpoint comes from the catalog of Keystone."},
	{Group: clientGroup, Name: "swift_catalog_info", Kind: config.String, Default: "object-store:swift:publicURL",
		Help: "Accepted for old files and without effect: it is the public endpoint of type object-store."},
	{Group: clientGroup, Name: "swift_auth_url", Kind: config.String,
		Help: "The URL of Keystone, version 3."},
	{Group: clientGroup, Name: "swift_user", Kind: config.String,
		Help: "The user that the bank is written as."},
	{Group: clientGroup, Name: "swift_key", Kind: config.String, Secret: true,
		Help: "The password of swift_user."},
	{Group: clientGroup, Name: "swift_tenant_name", Kind: config.String,
		Help: "The name of the project whose account holds the bank."},
	{Group: clientGroup, Name: "swift_project_domain_name", Kind: config.String, Default: "default",
		Help: "The name of the domain of swift_tenant_name."},
	{Group: clientGroup, Name: "swift_user_domain_name", Kind: config.String, Default: "default",
		Help: "The name of the domain of swift_user."},
	{Group: clientGroup, Name: "swift_retry_attempts", Kind: config.Int, Default: 3, Min: config.Bound(0),
		Help: "How often a failed request is repeated."},
	{Group: clientGroup, Name: "swift_retry_backoff", Kind: config.Int, Default: 2, Min: config.Bound(0),
		Help: "Seconds before a request is repeated; doubled each time, up to 64."},
	{Group: clientGroup, Name: "swift_ca_cert_file", Kind: config.String,
		Help: "A file of certificate authorities to trust, besides those of the system, for Keystone and Swift."},
	{Group: clientGroup, Name: "swift_auth_insecure", Kind: config.Bool, Default: false,
		Help: "Do not verify the certificates of Keystone and Swift."},
	{Group: bankGroup, Name: "bank_swift_object_container", Kind: config.String, Default: "karbor",
		Help: "The container of the bank. It is made when it is missing."},
	{Group: bankGroup, Name: "lease_expire_window", Kind: config.Int, Default: 600,
		Help: "Seconds after which the lease of a process that does not renew it ends."},
	{Group: bankGroup, Name: "lease_renew_window", Kind: config.Int, Default: 120,
		Help: "Seconds from one renewal of the lease to the next."},
	{Group: bankGroup, Name: "lease_validity_window", Kind: config.Int, Default: 100,
		Help: "Seconds that a lease must have left for the process to write. " +
			"It must fit between lease_renew_window and lease_expire_window."},
}

// FromConfig returns the bank that a provider's file describes, and its lease.
func FromConfig(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
	seconds := func(group, name string) time.Duration {
		return time.Duration(cfg.Int64(group, name)) * time.Second
	}
	c := Config{
		AuthURL:           cfg.String(clientGroup, "swift_auth_url"),
		User:              cfg.String(clientGroup, "swift_user"),
		Key:               cfg.String(clientGroup, "swift_key"),
		Tenant:            cfg.String(clientGroup, "swift_tenant_name"),
		ProjectDomainName: cfg.String(clientGroup, "swift_project_domain_name"),
		UserDomainName:    cfg.String(clientGroup, "swift_user_domain_name"),
		Container:         cfg.String(bankGroup, "bank_swift_object_container"),
		RetryAttempts:     cfg.Int(clientGroup, "swift_retry_attempts"),
		RetryBackoff:      seconds(clientGroup, "swift_retry_backoff"),
		CACertFile:        cfg.String(clientGroup, "swift_ca_cert_file"),
		Insecure:          cfg.Bool(clientGroup, "swift_auth_insecure"),
		LeaseExpireWindow: seconds(bankGroup, "lease_expire_window"),
		RenewWindow:       seconds(bankGroup, "lease_renew_window"),
		ValidityWindow:    seconds(bankGroup, "lease_validity_window"),
	}
	p, err := New(c, log)
	if err != nil {
		return nil, nil, err
	}
	leases, err := NewLeaseStore(c)
	if err != nil {
		return nil, nil, err
	}
	windows := bank.LeaseWindows{Expire: c.LeaseExpireWindow, Renew: c.RenewWindow, Validity: c.ValidityWindow}
	return p, bank.NewLease(leases, p.OwnerID(), windows, bank.Clock{}, log), nil
}

// complete validates the options without a default and fills in the others.
func (c *Config) complete() error {
	for _, needed := range []struct{ option, value string }{
		{"swift_auth_url", c.AuthURL}, {"swift_user", c.User}, {"swift_key", c.Key},
		{"swift_tenant_name", c.Tenant}, {"bank_swift_object_container", c.Container},
	} {
		if needed.value == "" {
			return fmt.Errorf("swift bank: %s is not set", needed.option)
		}
	}
	if c.RetryAttempts < 0 || c.RetryBackoff < 0 {
		return errors.New("swift bank: swift_retry_attempts and swift_retry_backoff must not be negative")
	}
	if c.ProjectDomainName == "" {
		c.ProjectDomainName = "default"
	}
	if c.UserDomainName == "" {
		c.UserDomainName = "default"
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = 2 * time.Minute
	}
	if c.PageSize == 0 {
		c.PageSize = 10000
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 64
	}
	return nil
}
