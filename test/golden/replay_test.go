// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// endless is the scenario whose flow goes on as long as the service.
const endless = "protect_slow"

// TestReplay sends every recorded request and compares what it leads to.
func TestReplay(t *testing.T) {
	t.Parallel()
	all, err := loadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, daemonConfig{})
	tables := d.openRows(t)
	bank, shift := objects{}, newShift(time.Now())
	equal, different := 0, 0
	for _, s := range all {
		if s.Name == monitored {
			continue // TestCallMonitor
		}
		t.Run(s.Name, func(t *testing.T) {
			d.fillBank(t, bank, shift)
			tables.clear(t)
			d.insertRecords(t, s)
			if compare(t, s, d.replay(t, s, tables), s.recorded(t), known(s, bank, shift)) {
				equal++
			} else {
				different++
			}
			if s.Name != endless {
				tables.settle(t)
			}
		})
		bank.remember(s)
	}
	t.Logf("%d scenarios are equal, %d differ in what the table of deviations lists", equal, different)
	for name := range deviations {
		if !slices.ContainsFunc(all, func(s *scenario) bool { return s.Name == name }) {
			t.Errorf("the table of deviations has %s, which is no scenario", name)
		}
	}
}

// hasEffects reports whether something was recorded that comes after the reply.
func (s *scenario) hasEffects() bool {
	return s.BankAfter != nil || s.OperationLogs != nil || s.Restores != nil || s.Verifications != nil
}

// known is everything that a call can know.
func known(s *scenario, bank objects, shift shift) string {
	var text strings.Builder
	text.WriteString(s.Messages[0].Body)
	for _, p := range recorded {
		text.WriteString(p.id)
	}
	for key, value := range bank {
		text.WriteString(shift.text(key) + shift.text(value))
	}
	return text.String()
}

// recorded is what the original did.
func (s *scenario) recorded(t *testing.T) *observed {
	t.Helper()
	o := &observed{Bank: s.BankAfter, OperationLogs: s.OperationLogs, Restores: s.Restores, Verifications: s.Verifications}
	for _, m := range s.Messages[1:] {
		var p properties
		if err := json.Unmarshal(m.Properties, &p); err != nil {
			t.Fatal(err)
		}
		o.Properties = append(o.Properties, p)
		o.Replies = append(o.Replies, openReply(t, []byte(m.Body)))
	}
	return o
}

// replay sends the request and returns a function that looks at what it has led
// to so far.
func (d *daemon) replay(t *testing.T, s *scenario, tables rows) func(*testing.T) *observed {
	t.Helper()
	request := openRequest(t, s.Messages[0].Body)
	o := &observed{}
	if request.ReplyQueue != "" {
		replies := d.listen(t, request.ReplyQueue)
		d.publish(t, s.Messages[0])
		delivery := receive(t, replies)
		if delivery.Exchange != "" || delivery.RoutingKey != request.ReplyQueue {
			t.Errorf("the reply went to exchange %q with key %q", delivery.Exchange, delivery.RoutingKey)
		}
		o.Properties = append(o.Properties, propertiesOf(delivery))
		r := openReply(t, delivery.Body)
		if r.MsgID != request.MsgID {
			t.Errorf("the reply is to call %q", r.MsgID)
		}
		o.Replies = append(o.Replies, r)
	} else {
		d.publish(t, s.Messages[0])
		d.serves(t) // the queue is in order: the cast was taken before
	}
	return func(t *testing.T) *observed {
		t.Helper()
		if s.BankAfter != nil {
			o.Bank = d.readBank(t, d.concerned(t, request, o))
		}
		if s.OperationLogs != nil {
			o.OperationLogs = tables.read(t, "operation_logs")
		}
		if s.Restores != nil {
			o.Restores = tables.read(t, "restores")
		}
		if s.Verifications != nil {
			o.Verifications = tables.read(t, "verifications")
		}
		return o
	}
}

// concerned are the checkpoints that a call has made or was about. What a call
// that failed has made is found by its plan.
func (d *daemon) concerned(t *testing.T, request recordedRequest, o *observed) map[string]bool {
	t.Helper()
	var args struct {
		CheckpointID string `json:"checkpoint_id"`
		Plan         struct {
			Data struct {
				ID string `json:"id"`
			} `json:"karbor_object.data"`
		} `json:"plan"`
	}
	var made string
	var pairs []struct {
		Copy string `json:"checkpoint_copy_id"`
	}
	_ = json.Unmarshal(request.Args, &args)
	ids := map[string]bool{args.CheckpointID: true}
	for _, r := range o.Replies {
		if json.Unmarshal(r.Result, &made) == nil {
			ids[made] = true
		}
		if json.Unmarshal(r.Result, &pairs) == nil {
			for _, p := range pairs {
				ids[p.Copy] = true
			}
		}
	}
	delete(ids, "")
	if plan := args.Plan.Data.ID; plan != "" && len(ids) == 0 {
		for key, id := range d.readBank(t, map[string]bool{plan: true}) {
			if strings.HasPrefix(key, "/indices/by-plan/") {
				ids[id] = true
			}
		}
	}
	return ids
}

// recordedRequest is the inner message of a recorded request.
type recordedRequest struct {
	Method     string          `json:"method"`
	Args       json.RawMessage `json:"args"`
	MsgID      string          `json:"_msg_id"`
	ReplyQueue string          `json:"_reply_q"`
}

func openRequest(t *testing.T, body string) recordedRequest {
	t.Helper()
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	var r recordedRequest
	if err := json.Unmarshal([]byte(body), &envelope); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(envelope.Message), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// compare reports whether both outcomes are equal. Differences that the table of
// deviations does not list, and entries of it that nothing needs, are errors.
func compare(t *testing.T, s *scenario, look func(*testing.T) *observed, original *observed, known string) bool {
	t.Helper()
	want, ours := original.outcome(t, known), deviations[s.Name]
	for _, aspect := range slices.Sorted(maps.Keys(ours)) {
		text, err := ours[aspect].apply(want[aspect])
		if err != nil {
			t.Errorf("deviation in %s: %v", aspect, err)
		}
		want[aspect] = text
	}
	check := func() string {
		return difference(want, look(t).outcome(t, known))
	}
	objection := check()
	if objection != "" && s.hasEffects() {
		objection = eventually(check)
	}
	if objection != "" {
		t.Error(objection)
	}
	return len(ours) == 0 && objection == ""
}
