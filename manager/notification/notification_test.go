// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc/notify"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var created = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// event is one of an operation that has reached a state.
func event(s journal.State, o journal.Outcome, reason string) operation.Event {
	e := operation.Event{
		Entry: journal.Entry{ID: "o1", Kind: "protect", Key: "message", ProviderID: "p1", CheckpointID: "c1", PlanID: "plan", ProjectID: "project",
			State: s, Outcome: o, Reason: reason, CreatedAt: created, StartedAt: created.Add(time.Second)},
		Caller:  &requestcontext.RequestContext{ProjectID: "project", UserID: "u", RequestID: "req-1", AuthToken: "s3cret", AuthTokenInfo: json.RawMessage(`{"token":"s3cret"}`)},
		Written: 7, Read: 5,
	}
	if s == journal.Ended {
		e.EndedAt = created.Add(90 * time.Second)
	}
	return e
}

// What listeners hear of an operation: its types, priorities and payload, and no secret.
func TestEventsOfAnOperation(t *testing.T) {
	t.Parallel()
	r := &notify.Recorder{}
	s := New("karbor-protection", "h", logrus.New(), r)
	s.Observe(event(journal.Running, "", ""))
	s.Observe(event(journal.Ended, journal.Succeeded, ""))
	s.Observe(event(journal.Ended, journal.Failed, "the volume is gone"))
	s.Observe(event(journal.Ended, journal.Cancelled, "cancelled by user u"))
	s.Stop(t.Context())
	var got []string
	for _, e := range r.Events() {
		var p Payload
		if err := json.Unmarshal(e.Payload, &p); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{e.Type, string(e.Priority), p.Status, p.Reason}, "|"))
		context, err := json.Marshal(e.Context)
		if err != nil || strings.Contains(string(context)+string(e.Payload), "s3cret") || string(e.Context["request_id"]) != `"req-1"` {
			t.Errorf("context %s: %v", context, err)
		}
		if e.PublisherID != "karbor-protection.h" {
			t.Errorf("publisher %s", e.PublisherID)
		}
	}
	want := []string{"karbor.protect.start|info|running|", "karbor.protect.end|info|succeeded|",
		"karbor.protect.error|error|failed|the volume is gone", "karbor.protect.error|error|cancelled|cancelled by user u"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	for i, want := range []string{
		`{"operation_id":"o1","operation_type":"protect","status":"running","project_id":"project","provider_id":"p1","checkpoint_id":"c1",` +
			`"plan_id":"plan","record_id":"","host":"h","created_at":"2026-11-30T12:00:00Z","started_at":"2026-11-30T12:00:01Z","ended_at":null,` +
			`"duration":0,"bytes_written":0,"bytes_read":0,"reason":""}`,
		`{"operation_id":"o1","operation_type":"protect","status":"succeeded","project_id":"project","provider_id":"p1","checkpoint_id":"c1",` +
			`"plan_id":"plan","record_id":"","host":"h","created_at":"2026-11-30T12:00:00Z","started_at":"2026-11-30T12:00:01Z",` +
			`"ended_at":"2026-11-30T12:01:30Z","duration":90,"bytes_written":7,"bytes_read":5,"reason":""}`,
	} {
		if diff := cmp.Diff(want, string(r.Events()[i].Payload)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// dropped returns how many notifications were not sent.
func dropped(t *testing.T, s *Sender) float64 {
	t.Helper()
	var m dto.Metric
	if err := s.lost.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Counter.GetValue()
}

// stuck is a broker that is away: it takes nothing as long as the context lasts.
type stuck struct{ began chan struct{} }

func (d stuck) Deliver(ctx context.Context, _ *notify.Event) error {
	d.began <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// Operations do not wait for a broker that is away. What has no room is counted, and said
// once; so is what is left at the end.
func TestNobodyWaitsForABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	log, lines := test.NewNullLogger()
	d := stuck{make(chan struct{}, queueSize+10)}
	s := New("p", "h", log, d)
	s.Observe(event(journal.Running, "", ""))
	<-d.began
	for range queueSize + 3 { // three more than there is room for
		s.Observe(event(journal.Running, "", ""))
	}
	if n := dropped(t, s); n != 3 || len(lines.AllEntries()) != 1 {
		t.Errorf("%v are dropped, %d lines", n, len(lines.AllEntries()))
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s.Stop(over)
	if n := dropped(t, s); n != queueSize+4 {
		t.Errorf("%v are dropped at the end", n)
	}
}

// A sender without a driver is none, and a driver that is not known is an error.
func TestSenderOfAConfiguration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		makes bool
		err   string
	}{
		"": {},
		"[oslo_messaging_notifications]\ndriver = log\ndriver = noop\nretry = 2\n": {makes: true},
		"[oslo_messaging_notifications]\ndriver = pigeon\n":                        {err: `option driver in section [oslo_messaging_notifications]: notify: driver "pigeon" is not known`},
	} {
		path := filepath.Join(t.TempDir(), "karbor.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.LoadFile(path, append(Options(), config.Option{Name: "control_exchange", Kind: config.String, Default: "karbor"}))
		if err != nil {
			t.Fatal(err)
		}
		s, err := FromConfig(cfg, "p", "h", nil, logrus.New())
		if (s != nil) != want.makes || want.err == "" && err != nil || want.err != "" && (err == nil || err.Error() != want.err) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
		s.Observe(operation.Event{Caller: &requestcontext.RequestContext{}})
		s.Stop(t.Context())
	}
}
