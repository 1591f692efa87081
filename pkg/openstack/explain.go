// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/httpclient"
)

// translate turns a 401 that remains after all retries into an error that says that the
// caller's token is no longer valid. Other errors are unchanged.
func translate(s service) gophercloud.RetryFunc {
	return func(_ context.Context, _, _ string, _ *gophercloud.RequestOpts, err error, _ uint) error {
		var known *fault.Error // such as the service's own login, refused by a 401 too
		if !errors.As(err, &known) && gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			return fault.AuthorizationFailure("the token of the request at " + s.name).WithCause(err)
		}
		return err
	}
}

// IsNotFound reports whether a resource does not exist, or not for this caller: a
// service answered 404, or the id is one that no resource can have.
func IsNotFound(err error) bool {
	var id *IDError
	return gophercloud.ResponseCodeIs(err, http.StatusNotFound) || errors.As(err, &id)
}

// Reason returns the text of an error for users who see no logs: the message in a
// service's answer with its HTTP code, as OpenStack's Python clients write it, or the
// error's own text. It contains no URL, since a URL may show internal names.
func Reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message()
	}
	var answer gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &answer) {
		text := message(answer.Body)
		if text == "" {
			text = http.StatusText(answer.Actual)
		}
		return fmt.Sprintf("%s (HTTP %d)", text, answer.Actual)
	}
	var id *IDError
	var redirect *httpclient.RedirectError
	switch {
	case errors.As(err, &id):
		return id.Error()
	case errors.As(err, &redirect):
		return "the service redirects to another address"
	}
	var transport *url.Error
	if errors.As(err, &transport) {
		return "Unable to establish connection: " + transport.Err.Error()
	}
	return err.Error()
}

// message finds the text in an error body: {"itemNotFound": {"message": ...}},
// {"message": ...}, {"NeutronError": {"message": ...}}, or the HTML that webob
// makes for Glance.
func message(body []byte) string {
	var flat struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &flat) == nil && flat.Message != "" {
		return withoutBreaks(flat.Message)
	}
	var nested map[string]json.RawMessage
	if json.Unmarshal(body, &nested) == nil {
		for _, raw := range nested {
			if json.Unmarshal(raw, &flat) == nil && flat.Message != "" {
				return withoutBreaks(flat.Message)
			}
		}
		return ""
	}
	return htmlText(body)
}

// withoutBreaks removes the HTML that webob leaves in its JSON.
func withoutBreaks(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "<br />", " "))
}

// htmlText removes the head and the tags of a small page.
func htmlText(page []byte) string {
	if i := bytes.Index(page, []byte("<body>")); i >= 0 {
		page = page[i:]
	}
	if i := bytes.Index(page, []byte("</h1>")); i >= 0 {
		page = page[i:]
	}
	var text strings.Builder
	inTag := false
	for _, r := range string(page[:min(len(page), 2048)]) {
		switch {
		case r == '<':
			inTag = true
			text.WriteByte(' ')
		case r == '>':
			inTag = false
		case !inTag:
			text.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// IsTransient reports whether a later attempt may succeed: it is true for connection
// errors and 5xx answers. It is meant for waits that are longer than the retries of a
// single call.
func IsTransient(err error) bool {
	var answer gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &answer) {
		return answer.Actual >= 500 || answer.Actual == http.StatusTooManyRequests
	}
	var transport *url.Error
	return errors.As(err, &transport) && !errors.Is(err, context.Canceled)
}
