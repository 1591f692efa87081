// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// The collections of Vault.
const (
	copies  = "copies"
	volumes = "volumes"
)

// item is a copy or a volume.
type item struct {
	Status  string `json:"status"` // "busy", "ready" or "broken"
	Percent int    `json:"percent"`
}

// answerError is an answer other than was hoped for.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.text, e.code) }

// client calls Vault.
type client struct {
	cfg  Config
	http http.Client
}

func newClient(cfg Config, transport http.RoundTripper) *client {
	c := &client{cfg: cfg, http: httpclient.New(transport)}
	c.http.Timeout = time.Minute
	return c
}

// call sends a request, with body as JSON unless it is nil, and reads the answer
// into v unless that is nil.
func (c *client) call(ctx context.Context, method, collection, id string, body, v any) error {
	wrong := func(err error) error { return fmt.Errorf("%s %s %s: %w", strings.ToLower(method), collection, id, err) }
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return wrong(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.URL+"/v1/"+collection+"/"+url.PathEscape(id), reader)
	if err != nil {
		return wrong(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	resp, err := c.http.Do(req)
	if err != nil {
		return wrong(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return wrong(&answerError{resp.StatusCode, strings.TrimSpace(string(text))})
	}
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return wrong(err)
	}
	return nil
}

func isNotFound(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.code == http.StatusNotFound
}

// isTransient tells errors that the next look may not have.
func isTransient(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.code >= http.StatusInternalServerError
	}
	var transport *url.Error
	return errors.As(err, &transport)
}

// make makes an item of an id, unless it is there, and waits until it is ready.
func (c *client) make(ctx context.Context, collection, id string, body any, report func(int)) error {
	if err := c.call(ctx, http.MethodPut, collection, id, body, nil); err != nil {
		return err
	}
	return c.await(ctx, collection, id, poll.Statuses{
		Success: []string{"ready"}, Failure: []string{"broken", poll.NotFound}, Ignore: []string{"busy"},
	}, report)
}

// remove deletes an item, as good if it is gone already, and waits until it is.
func (c *client) remove(ctx context.Context, collection, id string) error {
	err := c.call(ctx, http.MethodDelete, collection, id, nil, nil)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.await(ctx, collection, id, poll.Statuses{Success: []string{poll.NotFound}, IgnoreUnexpected: true}, func(int) {})
}

// await waits for a status. A wait is a safe point: a worker that stops breaks it
// off, and the hook is run again by another.
func (c *client) await(ctx context.Context, collection, id string, statuses poll.Statuses, report func(int)) error {
	options := poll.Options{Interval: c.cfg.PollInterval, Timeout: c.cfg.PollTimeout, Transient: isTransient, Patience: 5}
	err := poll.Until(ctx, options, statuses, func(ctx context.Context) (string, error) {
		var is item
		err := c.call(ctx, http.MethodGet, collection, id, nil, &is)
		if isNotFound(err) {
			return poll.NotFound, nil
		}
		report(is.Percent)
		return is.Status, err
	})
	if err != nil {
		return fmt.Errorf("wait for %s %s: %w", collection, id, err)
	}
	return nil
}
