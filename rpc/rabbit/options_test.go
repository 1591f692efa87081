// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

func mustParse(t *testing.T, text string) *rpc.TransportURL {
	t.Helper()
	u, err := rpc.ParseTransportURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestChecklist04_OptionsOfTheURL(t *testing.T) {
	t.Parallel()
	tr, err := New(mustParse(t, "rabbit://h/?ssl=1&heartbeat_timeout_threshold=10&rabbit_qos_prefetch_count=5"), DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	config := tr.publishConn.dialer.config(rpc.Host{User: "u", Password: "p"})
	if tr.publishConn.dialer.tls == nil || config.Heartbeat != 10*time.Second || tr.options.PrefetchCount != 5 {
		t.Errorf("%+v", tr.options)
	}
	for _, query := range []string{
		"nope=1", "heartbeat_timeout_threshold=abc", "ssl=maybe", "rabbit_login_method=magic", "kombu_reconnect_delay=5",
		"rabbit_retry_interval=0", "rabbit_quorum_queue=1&rabbit_ha_queues=1", "rabbit_stream_fanout=1", "ssl=1&ssl_ca_file=/nonexistent",
		"ssl=1&ssl_cert_file=/nonexistent", "kombu_compression=bz2",
	} {
		if _, err := New(mustParse(t, "rabbit://h/?"+query), DefaultOptions(), nil); err == nil {
			t.Errorf("%s: no error", query)
		}
	}
}

func TestChecklist07_ConnectionNameAndLogin(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`^[^:]+:\d+:[0-9a-f-]{36}$`).MatchString(connectionName()) {
		t.Error(connectionName())
	}
	for method, mechanism := range map[string]string{"": "AMQPLAIN", "plain": "PLAIN", "AMQPLAIN": "AMQPLAIN", "EXTERNAL": "EXTERNAL"} {
		o := DefaultOptions()
		if method != "" {
			if err := o.Set("rabbit_login_method", method); err != nil {
				t.Fatal(err)
			}
		}
		d := newDialer(mustParse(t, "rabbit://h"), &o, nil)
		if got := d.login(rpc.Host{}).Mechanism(); got != mechanism {
			t.Errorf("%s logs in with %s", method, got)
		}
	}
}

func TestOptionTable(t *testing.T) {
	t.Parallel()
	want := Options{
		TransientQueuesTTL: 1800, DirectMandatory: true, HeartbeatThreshold: 60, HeartbeatRate: 3, ReconnectDelay: 1,
		MissingConsumerTimeout: 60, FailoverStrategy: "round-robin", LoginMethod: "AMQPLAIN", RetryInterval: 1, RetryBackoff: 2,
		IntervalMax: 30, ConnPoolSize: 30, ConnPoolMinSize: 2, ConnPoolTTL: 1200, SSLVerifyHostname: true,
	}
	got := DefaultOptions()
	want.Hostname, want.ProcessName = got.Hostname, got.ProcessName
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	seen := map[string]bool{}
	for _, s := range OptionSpecs() {
		if seen[s.Name] || s.Help == "" || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
		var o Options
		if err := o.Set(s.Name, fmt.Sprint(s.Default)); err != nil {
			t.Errorf("default of %s: %v", s.Name, err)
		}
	}
	if err := got.Set("kombu_reconnect_timeout", "5"); err != nil || got.MissingConsumerTimeout != 5 {
		t.Errorf("deprecated name: %v", err)
	}
}

func TestBackoffSequence(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	b := o.connectAttempts()
	b.jitter = func() float64 { return 0 }
	var got []time.Duration
	for range 18 {
		got = append(got, b.delay()/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 31, 31}, got); diff != "" {
		t.Error(diff)
	}
	b.succeeded()
	b.jitter = func() float64 { return 1 }
	if d := b.delay(); d != 750*time.Millisecond {
		t.Errorf("with jitter %v", d)
	}
}

func TestRefusalsAreExplained(t *testing.T) {
	t.Parallel()
	refusal := &amqp.Error{Code: amqp.InternalError, Reason: "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated"}
	if err := explain(refusal); !permanent(err) || !strings.Contains(err.Error(), "rabbit_transient_quorum_queue = true") || !errors.Is(err, refusal) {
		t.Error(err)
	}
	if permanent(&amqp.Error{Code: amqp.InternalError, Reason: "INTERNAL_ERROR"}) || permanent(&amqp.Error{Code: amqp.NotFound}) || permanent(nil) {
		t.Error("a passing error counts as permanent")
	}
}

// Whoever sets no option gets the defaults, and none gets a number that makes no
// sense.
func TestZeroOptions(t *testing.T) {
	t.Parallel()
	made := func(o Options) Options {
		tr, err := New(mustParse(t, "rabbit://h/"), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tr.options
	}
	if diff := cmp.Diff(DefaultOptions(), made(Options{})); diff != "" {
		t.Error(diff)
	}
	want := DefaultOptions()
	got := made(Options{PrefetchCount: 7})
	// A zero that is a value stays.
	want.PrefetchCount, want.TransientQueuesTTL, want.DirectMandatory, want.HeartbeatThreshold = 7, 0, false, 0
	want.ReconnectDelay, want.MissingConsumerTimeout, want.RetryBackoff, want.ConnPoolMinSize, want.ConnPoolTTL = 0, 0, 0, 0, 0
	want.SSLVerifyHostname = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, o := range []Options{{RetryInterval: -1}, {HeartbeatThreshold: -1}, {ReconnectDelay: 5}, {LoginMethod: "magic"}, {PrefetchCount: -3}} {
		if _, err := New(mustParse(t, "rabbit://h/"), o, nil); err == nil || !strings.Contains(err.Error(), "[oslo_messaging_rabbit]") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
