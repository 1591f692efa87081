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

	"github.com/gophercloud/gophercloud/v2"
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

// Insist calls create, which makes something, again while the service fails in it,
// as Nova does when one that it needs is away: for as long as the patience of ctx
// lasts, once without it. Such a POST is not repeated by itself, since nobody knows
// how far it has come; create looks for what an earlier call of it has made.
func Insist(ctx context.Context, create func() error) error {
	return insist(ctx, defaultRetryPolicy(), create)
}

func insist(ctx context.Context, policy retryPolicy, create func() error) error {
	patience, waited := patienceOf(ctx), time.Duration(0)
	for attempt := 1; ; attempt++ {
		err := create()
		var answer gophercloud.ErrUnexpectedResponseCode
		if waited >= patience || !errors.As(err, &answer) || answer.Actual < http.StatusInternalServerError {
			return err
		}
		wait := policy.wait(attempt, nil)
		waited += wait
		if policy.sleep(ctx, wait) != nil {
			return err
		}
	}
}

const (
	// withoutKeystone is what a service answers to a call of which it cannot find out
	// whose it is. keystonemiddleware: auth_token/__init__.py
	withoutKeystone = "The Keystone service is temporarily unavailable."
	// withoutGlance is what Cinder answers, as a bad request, when it cannot make the
	// image that a volume was to become. The volume is then as it was.
	// cinder: exception.py GlanceConnectionFailed, volume/api.py copy_volume_to_image
	withoutGlance = "Connection to glance failed"
)

// untaken tells that nobody has taken a call, so that to repeat even a POST does no
// harm: there was no connection, or the call came no further than its token or than
// the first that its service needs.
func untaken(resp *http.Response, err error) bool {
	if err != nil {
		var op *net.OpError
		return errors.As(err, &op) && op.Op == "dial"
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		return bytes.Contains(peek(resp), []byte(withoutKeystone))
	case http.StatusBadRequest:
		return bytes.Contains(peek(resp), []byte(withoutGlance))
	}
	return false
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
