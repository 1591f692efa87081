// SPDX-License-Identifier: Apache-2.0

// Package httpclient makes HTTP clients that send secrets to no other server than the
// intended one. OpenStack has tokens in headers of its own and passwords in bodies, and
// the standard client sends both to any server that a redirection names.
package httpclient

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects bounds the redirects that one request follows.
const maxRedirects = 5

// New returns a client that follows a redirect only if the request reads, and
// only to the scheme, host and port that it was sent to. Any other redirect ends
// the request with a RedirectError. Errors repeat no secret that the transport gets;
// one that adds secrets itself needs Redacted below it.
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

// Origin returns the scheme, host and port of a URL, the port of the scheme
// included, as one text that is the same for the same server.
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
