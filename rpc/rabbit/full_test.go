// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"context"
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

// A start waits while the user has as many connections as it may, as it does while
// the broker is down.
func TestStartWaitsForAFullBroker(t *testing.T) {
	u := brokerURL(t)
	h := u.Brokers()[0]
	h.User, h.Password = "limited"+rpc.NewID()[:8], "secret"
	ctl(t, "add_user", h.User, h.Password)
	t.Cleanup(func() { ctl(t, "delete_user", h.User) })
	ctl(t, "set_permissions", "-p", u.VirtualHost, h.User, ".*", ".*", ".*")
	ctl(t, "set_user_limits", h.User, `{"max-connections": 0}`)
	limited := *u
	limited.Hosts = []rpc.Host{h}
	refused := make(refusals, 1)
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(refused)
	tr, err := rabbit.New(&limited, fast(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close(context.Background()) })
	started := make(chan error, 1)
	go func() {
		_, err := tr.Replies(t.Context())
		started <- err
	}()
	select {
	case <-refused:
	case err := <-started:
		t.Fatalf("the start has ended: %v", err)
	}
	ctl(t, "clear_user_limits", h.User, "all")
	if err := <-started; err != nil {
		t.Error(err)
	}
}
