// SPDX-License-Identifier: Apache-2.0

// Package httpclient makes HTTP clients that send secrets only to the intended server.
// OpenStack puts tokens into headers of its own and passwords into bodies, and the
// standard client sends both to any server named by a redirect.
package httpclient

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects bounds the redirects that one request follows.
const maxRedirects = 5

// New returns a client that follows a redirect only for a request that reads, and only
// to the scheme, host and port that the request was sent to. Any other redirect ends
// the request with a RedirectError. Errors repeat no secret that is in the request; a
// transport that adds secrets itself needs Redacted below it.
func New(transport http.RoundTripper) http.Client {
	return http.Client{Transport: Redacted(transport), CheckRedirect: sameServer}
}

// RedirectError is a redirect that was not followed.
type RedirectError struct {
	Method   string
	From, To string // origins; paths may hold ids
}

func (e *RedirectError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("%s redirects a %s request, which is not followed: configure the URL that it redirects to", e.From, e.Method)
	}
	return fmt.Sprintf("%s redirects to %s, which is not followed: configure the URL of that server if it is the right one", e.From, e.To)
}

func sameServer(next *http.Request, via []*http.Request) error {
	first := via[0]
	reads := first.Method == http.MethodGet || first.Method == http.MethodHead
	if from, to := Origin(first.URL), Origin(next.URL); !reads || from != to {
		return &RedirectError{Method: first.Method, From: from, To: to}
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%s redirects again after %d redirects", Origin(first.URL), len(via))
	}
	return nil
}

// Origin returns the scheme, host and port of a URL as one text, with the scheme's
// default port filled in, so that it is the same for the same server.
func Origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + ":" + port
}
