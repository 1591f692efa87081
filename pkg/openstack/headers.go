// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"net/http"
)

// headers adds the request id and the service token to each call. keystonemiddleware
// accepts an expired user token for a while when a valid service token accompanies it,
// which keeps long operations going. A caller could have forged the catalogue in the
// context, so an endpoint from that catalogue gets the service token only if the
// catalogue of the service's own login also has it.
type headers struct {
	requestID string
	tokens    *identity // nil: no service token
	trusted   bool      // the endpoint comes from the configuration or from Keystone, not from the caller
	next      http.RoundTripper
}

// RoundTrip sends the call. A 401 may mean that the service token was refused: then the
// call is made once more with a new token, if its body can be replayed.
func (h *headers) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	token := ""
	if h.tokens != nil {
		var err error
		if token, err = h.tokens.Token(ctx, ""); err != nil {
			closeBody(req)
			return nil, err
		}
		if !h.trusted && !h.tokens.hasEndpoint(req.URL) {
			token = ""
		}
	}
	resp, err := h.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || token == "" || !replayable(req) {
		return resp, err
	}
	fresh, err := h.tokens.Token(ctx, token)
	if err != nil {
		return resp, nil // the 401 is the better answer
	}
	again, err := replay(req)
	if err != nil {
		return resp, nil
	}
	drain(resp)
	return h.send(again, fresh)
}

func (h *headers) send(req *http.Request, token string) (*http.Response, error) {
	req = req.Clone(req.Context())
	if h.requestID != "" {
		req.Header.Set("X-Openstack-Request-Id", h.requestID)
	}
	if token != "" {
		req.Header.Set("X-Service-Token", token)
	}
	return h.next.RoundTrip(req)
}
