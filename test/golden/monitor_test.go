// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// monitored is the scenario of a client that wants to see that its call still
// runs. Its provider is another one.
const monitored = "proto_call_monitor_heartbeats"

// TestCallMonitor holds up a call until the client has seen two heartbeats.
func TestCallMonitor(t *testing.T) {
	t.Parallel()
	s, err := load(monitored)
	if err != nil {
		t.Fatal(err)
	}
	p := recorded[0]
	p.id = "50000000-0000-4000-8000-000000000001"
	dir := t.TempDir()
	d := startDaemon(t, daemonConfig{providers: map[string]string{"slow.conf": providerConf(p, slowBank, dir)}})
	request := openRequest(t, s.Messages[0].Body)
	replies := d.listen(t, request.ReplyQueue)
	d.publish(t, s.Messages[0])
	for _, want := range s.Messages[1:3] {
		delivery := receive(t, replies)
		var p properties
		if err := json.Unmarshal(want.Properties, &p); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, propertiesOf(delivery)); diff != "" {
			t.Errorf("properties of a heartbeat (-want +got)\n%s", diff)
		}
		heartbeat, recorded := openReply(t, delivery.Body), openReply(t, []byte(want.Body))
		if heartbeat.UniqueID == "" {
			t.Error("a heartbeat has no _unique_id")
		}
		heartbeat.UniqueID = recorded.UniqueID
		if diff := cmp.Diff(recorded, heartbeat); diff != "" {
			t.Errorf("a heartbeat (-want +got)\n%s", diff)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "bank"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bank", listings), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for {
		last := openReply(t, receive(t, replies).Body)
		if !last.Ending {
			continue
		}
		if last.MsgID != request.MsgID || string(last.Result) != "[]" || last.Failure != nil {
			t.Errorf("the last reply is %+v", *last)
		}
		return
	}
}
