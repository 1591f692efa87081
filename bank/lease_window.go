// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"fmt"
	"time"
)

// LeaseWindows are the time windows of a lease.
//
// karbor: swift_bank_plugin.py lease_expire_window, lease_renew_window,
// lease_validity_window
type LeaseWindows struct {
	Expire   time.Duration // a lease that is not renewed ends after this time
	Renew    time.Duration // between two renewals
	Validity time.Duration // remaining time that a valid lease must have
}

// DefaultLeaseWindows returns the windows of the original.
func DefaultLeaseWindows() LeaseWindows {
	return LeaseWindows{Expire: 600 * time.Second, Renew: 120 * time.Second, Validity: 100 * time.Second}
}

// stockLeaseWindows are the values in the original's sample of a provider. Operators who kept them
// need no warning.
//
// karbor: etc/providers.d/openstack-infra.conf
var stockLeaseWindows = LeaseWindows{Expire: 120 * time.Second, Renew: 100 * time.Second, Validity: 100 * time.Second}

// usable returns windows under which a lease that is renewed in time is always valid, and a text
// that says what it changed. The original accepts any values, since it never checks a lease.
func (w LeaseWindows) usable() (LeaseWindows, string) {
	given := w
	if w.Expire <= 0 {
		w.Expire = DefaultLeaseWindows().Expire
	}
	if w.Renew <= 0 || w.Renew >= w.Expire {
		w.Renew = w.Expire / 5
	}
	// Between two renewals the lease has at least Expire-Renew left. Half of that is reserved for a
	// late renewal.
	if spare := w.Expire - w.Renew; w.Validity < 0 || w.Validity > spare*9/10 {
		w.Validity = spare / 2
	}
	if w == given || given == stockLeaseWindows {
		return w, ""
	}
	return w, fmt.Sprintf("expire %s renew %s validity %s instead of expire %s renew %s validity %s",
		w.Expire, w.Renew, w.Validity, given.Expire, given.Renew, given.Validity)
}
