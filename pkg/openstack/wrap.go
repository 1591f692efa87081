// SPDX-License-Identifier: Apache-2.0

package openstack

import "net/http"

// Wrapped returns a factory that shares everything with f, but whose clients
// send each call through what wrap makes of their transport, outside of the
// retries. Logins at Keystone are not among them. It is for faults in tests; f
// is closed, the new one is not.
func (f *Factory) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Factory {
	wrapped := *f
	wrapped.wrap = wrap
	return &wrapped
}

func (f *Factory) transport(chain http.RoundTripper) http.RoundTripper {
	if f.wrap == nil {
		return chain
	}
	return f.wrap(chain)
}
