// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"fmt"
	"time"
)

// LeaseWindows are the times of a lease.
//
// karbor: swift_bank_plugin.py lease_expire_window, lease_renew_window,
// lease_validity_window
type LeaseWindows struct {
	Expire   time.Duration // a lease that is not renewed ends after this
	Renew    time.Duration // from one renewal to the next
	Validity time.Duration // what a lease must have left to be valid
}

// DefaultLeaseWindows are those of the original.
func DefaultLeaseWindows() LeaseWindows {
	return LeaseWindows{Expire: 600 * time.Second, Renew: 120 * time.Second, Validity: 100 * time.Second}
}

// stockLeaseWindows are those of the original's own sample of a provider. Operators who
// left them as they were have nothing to be warned of.
//
// karbor: etc/providers.d/openstack-infra.conf
var stockLeaseWindows = LeaseWindows{Expire: 120 * time.Second, Renew: 100 * time.Second, Validity: 100 * time.Second}

// usable returns windows under which a lease that is renewed in time never
// ceases to be valid, and says what it changed. The original takes any values,
// since it never checks a lease.
func (w LeaseWindows) usable() (LeaseWindows, string) {
	given := w
	if w.Expire <= 0 {
		w.Expire = DefaultLeaseWindows().Expire
	}
	if w.Renew <= 0 || w.Renew >= w.Expire {
		w.Renew = w.Expire / 5
	}
	// Between two renewals the lease has at least Expire-Renew left. Half of
	// that stays for a renewal that is late.
	if spare := w.Expire - w.Renew; w.Validity < 0 || w.Validity > spare*9/10 {
		w.Validity = spare / 2
	}
	if w == given || given == stockLeaseWindows {
		return w, ""
	}
	return w, fmt.Sprintf("expire %s renew %s validity %s instead of expire %s renew %s validity %s",
		w.Expire, w.Renew, w.Validity, given.Expire, given.Renew, given.Validity)
}
