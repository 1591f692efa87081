// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The API server tells a client to come back later with this header and, in seconds,
// when. It has done nothing then.
const (
	retryAfter = "Retry-After"
	attempts   = 5
	longest    = 30 * time.Second // that one attempt waits
)

// request is one call of the API.
type request struct {
	method string
	query  url.Values
	body   any      // nil: none
	parts  []string // of the path below /api/v1, unescaped
}

// do makes a call and reads the answer into v, a pointer.
func (c *Client) do(ctx context.Context, r request, v any) error {
	client, err := c.http()
	if err != nil {
		return err
	}
	escaped := make([]string, len(r.parts))
	for i, part := range r.parts {
		escaped[i] = url.PathEscape(part)
	}
	path := "/api/v1/" + strings.Join(escaped, "/")
	wrong := func(err error) error { return fmt.Errorf("%s %s: %w", strings.ToLower(r.method), path, err) }
	address := strings.TrimRight(c.cfg.Host, "/") + path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	var body []byte
	if r.body != nil {
		if body, err = json.Marshal(r.body); err != nil {
			return wrong(err)
		}
	}
	for attempt := 1; ; attempt++ {
		later, err := once(ctx, client, r.method, address, body, v)
		if err == nil {
			return nil
		}
		if later < 0 || attempt == attempts {
			return wrong(err)
		}
		select {
		case <-time.After(later):
		case <-ctx.Done():
			return wrong(context.Cause(ctx))
		}
	}
}

// once is one attempt. later is how long to wait before the next, negative if
// there is none to be made.
func once(ctx context.Context, client *http.Client, method, address string, body []byte, v any) (later time.Duration, err error) {
	var reader io.Reader // of the body, nil without one
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return -1, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return -1, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return wait(resp), failure(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return -1, err
	}
	return -1, nil
}

func wait(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError {
		return -1
	}
	seconds, err := strconv.Atoi(resp.Header.Get(retryAfter))
	if err != nil || seconds < 0 {
		return -1
	}
	return min(time.Duration(seconds)*time.Second, longest)
}
