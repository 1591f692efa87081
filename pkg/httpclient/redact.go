// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Redacted returns a transport whose answers repeat no secret of the request: some
// services and proxies quote the refused request in an error, and that text goes to
// users, logs and the journal. No more than longestError bytes of an error's body are
// read, because clients hold it in memory.
//
// Redacted belongs next to the connection, where a request has all its headers.
func Redacted(next http.RoundTripper) http.RoundTripper { return &redacting{next} }

const (
	longestError = 64 << 10
	// longestBody bounds the part of a request that is searched for secrets; logins are
	// short.
	longestBody = 64 << 10
	removed     = "***"
)

// secretHeaders are the headers of OpenStack and HTTP with secret values.
var secretHeaders = []string{"X-Auth-Token", "X-Service-Token", "X-Subject-Token", "X-Storage-Token", "Authorization", "Proxy-Authorization", "Cookie"}

// secretMembers are the lower-case names of JSON members with secret values, in logins
// and in requests that create servers or databases.
var secretMembers = []string{"password", "original_password", "adminpass", "admin_pass", "secret", "passcode", "token", "trust_secret"}

type redacting struct{ next http.RoundTripper }

// RoundTrip sends the request. Only error answers are searched for secrets.
func (t *redacting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode < http.StatusMultipleChoices {
		return resp, err
	}
	secrets := strings.NewReplacer(pairs(secretsOf(req))...)
	resp.Status = secrets.Replace(resp.Status)
	for _, values := range resp.Header {
		for i := range values {
			values[i] = secrets.Replace(values[i])
		}
	}
	if resp.StatusCode >= http.StatusBadRequest && req.Method != http.MethodHead && resp.Body != http.NoBody {
		resp.Body = &redactedBody{body: resp.Body, secrets: secrets}
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return resp, nil
}

// CloseIdleConnections forwards the call of http.Client to the connections.
func (t *redacting) CloseIdleConnections() {
	if closer, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// redactedBody reads the beginning of a body at the first Read, because a secret may
// span two reads.
type redactedBody struct {
	body    io.ReadCloser
	secrets *strings.Replacer
	text    *strings.Reader
	err     error // after the text
}

func (b *redactedBody) Read(p []byte) (int, error) {
	if b.text == nil {
		data, err := io.ReadAll(io.LimitReader(b.body, longestError))
		b.text = strings.NewReader(b.secrets.Replace(string(data)))
		if b.err = err; err == nil {
			b.err = io.EOF
		}
	}
	if b.text.Len() == 0 {
		return 0, b.err
	}
	return b.text.Read(p)
}

func (b *redactedBody) Close() error { return b.body.Close() }

// pairs returns the arguments of a replacer that removes each secret in the forms that it
// has in texts, HTML, URLs, and JSON, which may be quoted in JSON again. The longest
// come first, so that none is left in part.
func pairs(secrets []string) []string {
	var forms []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		forms = append(forms, secret, html.EscapeString(secret), url.QueryEscape(secret), url.PathEscape(secret))
		for _, once := range quoted(secret) {
			forms = append(append(forms, once), quoted(once)...)
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var all []string
	for _, form := range slices.Compact(forms) {
		all = append(all, form, removed)
	}
	return all
}

// quoted returns the forms of a text in the JSON of different writers, without the quotes.
func quoted(text string) []string {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text always is JSON
	html, _ := json.Marshal(text)
	forms := []string{strings.TrimSuffix(plain.String(), "\n"), string(html), strconv.QuoteToASCII(text)}
	for i, form := range forms {
		forms[i] = form[1 : len(form)-1]
	}
	return forms
}

// secretsOf returns the secrets that a request carries.
func secretsOf(req *http.Request) []string {
	var found []string
	for _, name := range secretHeaders {
		for _, value := range req.Header.Values(name) {
			found = append(found, value)
			if _, credentials, ok := strings.Cut(value, " "); ok && strings.HasSuffix(name, "Authorization") {
				found = append(found, credentials)
			}
		}
	}
	if req.URL.User != nil {
		password, _ := req.URL.User.Password()
		found = append(found, password)
	}
	if req.GetBody == nil {
		return found // a stream: data, not a login
	}
	body, err := req.GetBody()
	if err != nil {
		return found
	}
	defer body.Close()
	var value any
	if json.NewDecoder(io.LimitReader(body, longestBody)).Decode(&value) != nil {
		return found
	}
	return append(found, secretsIn(value, "")...)
}

// secretsIn returns the texts of secret members in the value of a member with that name.
// The token of a login is its id.
func secretsIn(value any, name string) []string {
	var found []string
	switch value := value.(type) {
	case string:
		if slices.Contains(secretMembers, name) {
			found = append(found, value)
		}
	case []any:
		for _, v := range value {
			found = append(found, secretsIn(v, "")...)
		}
	case map[string]any:
		for member, v := range value {
			member = strings.ToLower(member)
			if id, ok := v.(string); ok && member == "id" && name == "token" {
				found = append(found, id)
			}
			found = append(found, secretsIn(v, member)...)
		}
	}
	return found
}
