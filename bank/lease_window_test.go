// SPDX-License-Identifier: Apache-2.0

package bank

import "testing"

// The windows of the original's sample cannot be kept as they are, which is no news to
// those who left them so.
func TestStockWindows(t *testing.T) {
	t.Parallel()
	if w, said := stockLeaseWindows.usable(); said != "" || w.Validity >= w.Expire-w.Renew {
		t.Errorf("%+v, said %q", w, said)
	}
	other := stockLeaseWindows
	other.Validity = other.Expire
	if _, said := other.usable(); said == "" {
		t.Error("windows that were changed are not told")
	}
}
