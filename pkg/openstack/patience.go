// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

type patienceKey struct{}

// WithPatience returns a context whose calls bear with a service that is away, such
// as one that is restarted: each is made again for that long, in which the service
// takes no connections or says that it is unavailable. Without it a call is made a
// few times within seconds, which is right for callers that wait for an answer and
// a pity for an operation that has been at work for hours.
func WithPatience(ctx context.Context, patience time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, patience)
}

func patienceOf(ctx context.Context) time.Duration {
	patience, _ := ctx.Value(patienceKey{}).(time.Duration)
	return patience
}

// withoutKeystone is what a service answers to a call of which it cannot find out
// whose it is. keystonemiddleware: auth_token/__init__.py
const withoutKeystone = "The Keystone service is temporarily unavailable."

// untaken tells that nobody has taken a call, so that to repeat even a POST does no
// harm: there was no connection, or the call came no further than its token.
func untaken(resp *http.Response, err error) bool {
	if err != nil {
		var op *net.OpError
		return errors.As(err, &op) && op.Op == "dial"
	}
	return unavailable(resp) && bytes.Contains(peek(resp), []byte(withoutKeystone))
}

func unavailable(resp *http.Response) bool {
	return resp != nil && resp.StatusCode == http.StatusServiceUnavailable
}

// peek returns the begin of a body that is read from the start all the same.
func peek(resp *http.Response) []byte {
	begin, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), resp.Body), resp.Body}
	return begin
}
