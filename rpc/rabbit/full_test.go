// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// refusals gets a token when the log tells that a limit is reached.
type refusals chan struct{}

func (refusals) Levels() []logrus.Level { return logrus.AllLevels }

func (r refusals) Fire(e *logrus.Entry) error {
	if err, ok := e.Data[logrus.ErrorKey].(error); ok && strings.Contains(err.Error(), "limit") {
		select {
		case r <- struct{}{}:
		default:
		}
	}
	return nil
}

// A start waits while a limit of the broker is reached, as it does while the broker
// is down.
func TestStartWaitsForAFullBroker(t *testing.T) {
	u := brokerURL(t)
	name := "limited" + rpc.NewID()[:8]
	ctl(t, "add_vhost", name)
	t.Cleanup(func() { ctl(t, "delete_vhost", name) })
	ctl(t, "add_user", name, "secret")
	t.Cleanup(func() { ctl(t, "delete_user", name) })
	ctl(t, "set_permissions", "-p", name, name, ".*", ".*", ".*")
	limited := *u
	limited.VirtualHost = name
	h := u.Brokers()[0]
	h.User, h.Password = name, "secret"
	limited.Hosts = []rpc.Host{h}
	for limit, clear := range map[string][2][]string{
		"connections of the user":  {{"set_user_limits", name, `{"max-connections": 0}`}, {"clear_user_limits", name, "all"}},
		"channels of the user":     {{"set_user_limits", name, `{"max-channels": 1}`}, {"clear_user_limits", name, "all"}},
		"connections of the vhost": {{"set_vhost_limits", "-p", name, `{"max-connections": 0}`}, {"clear_vhost_limits", "-p", name}},
		"queues of the vhost":      {{"set_vhost_limits", "-p", name, `{"max-queues": 0}`}, {"clear_vhost_limits", "-p", name}},
	} {
		t.Run(limit, func(t *testing.T) {
			ctl(t, clear[0]...)
			refused := make(refusals, 1)
			log := logrus.New()
			log.SetOutput(io.Discard)
			log.AddHook(refused)
			tr, err := rabbit.New(&limited, fast(), log)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tr.Close(context.Background()) })
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			started := make(chan error, 1)
			go func() {
				_, err := tr.Replies(ctx)
				started <- err
			}()
			select {
			case <-refused:
			case err := <-started:
				t.Fatalf("the start has ended: %v", err)
			}
			ctl(t, clear[1]...)
			if err := <-started; err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		wrong := limited
		h.Password = "wrong"
		wrong.Hosts = []rpc.Host{h}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		if _, err := connect(t, &wrong, fast()).Replies(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
}
