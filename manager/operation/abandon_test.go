// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// An operation that was cancelled and whose provider no worker has loaded ends.
// Everything that can be reached without the provider says so, and what stays
// elsewhere is told of. It is the same whether the cancel came before the
// adoption or after it.
func TestCancelWithoutTheProvider(t *testing.T) {
	t.Parallel()
	const because = ": Provider gone could not be found."
	running := []journal.Mark{
		{Key: "p/OS::Cinder::Volume#v", Value: json.RawMessage(`{"resource_type":"OS::Cinder::Volume","resource_id":"v","hook":"on_main","state":"running",` +
			`"done":["on_prepare_begin"],"restored":{"v":"new-v"}}`)},
	}
	walked := append([]journal.Mark{{Key: walkedMark, Value: json.RawMessage("true")}}, running...)
	failed := append([]journal.Mark{{Key: outcomeMark, Value: json.RawMessage(`{"reason":"disk full"}`)}}, running...)
	closed := database.OperationLog{Status: "available", EndedAt: time.Unix(1, 0).UTC()}
	for name, c := range map[string]struct {
		kind    protection.Kind
		queued  bool
		marks   []journal.Mark
		log     *database.OperationLog // there before
		status  string                 // of the operation
		reason  string
		ended   string // the status of the operation log
		damaged bool   // the input cannot be read
	}{
		"protection": {kind: protection.Protect, marks: running, status: "cancelled", ended: "error",
			reason: "cancelled by alice; the status of checkpoint c stays as it is in the bank; not removed: what was made of " +
				"OS::Cinder::Volume#v (new-v), OS::Nova::Server#s" + because},
		"protection in a queue": {kind: protection.Protect, queued: true, status: "cancelled", ended: "error",
			reason: "cancelled by alice; the status of checkpoint c stays as it is in the bank" + because},
		"input of a later version": {kind: protection.Copy, damaged: true, status: "cancelled", ended: "error",
			reason: "cancelled by alice; the status of checkpoint c stays as it is in the bank; not removed: what was made of the resources of checkpoint c" +
				": the input of the operation has version 99, this worker knows 1"},
		"deletion": {kind: protection.Delete, marks: running, status: "cancelled", ended: "error-deleting",
			reason: "cancelled by alice; the status of checkpoint c stays as it is in the bank" + because},
		"restore": {kind: protection.Restore, marks: running[:1], status: "cancelled", ended: "fail",
			reason: "cancelled by alice; not removed: what was made of OS::Cinder::Volume#v (new-v)" + because},
		"verification":          {kind: protection.Verify, marks: running, status: "cancelled", ended: "fail", reason: "cancelled by alice"},
		"restore that is done":  {kind: protection.Restore, marks: walked, status: "succeeded", ended: "success"},
		"protection to be seen": {kind: protection.Protect, marks: walked, log: &closed, status: "succeeded", ended: "available"},
		"protection that is not to be seen": {kind: protection.Protect, marks: walked, status: "cancelled", ended: "error",
			reason: "cancelled by alice; the status of checkpoint c stays as it is in the bank; not removed: what was made of " +
				"OS::Cinder::Volume#v (new-v), OS::Nova::Server#s" + because},
		"failed already":  {kind: protection.Protect, marks: failed, status: "failed", ended: "error", reason: "disk full"},
		"of another time": {kind: "migrate", marks: running, status: "cancelled", reason: "cancelled by alice"},
	} {
		for when, early := range map[string]bool{", then adopted": true, ", adopted before": false} {
			t.Run(name+when, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					kept := journaltest.NewMemory(time.Now)
					b := setup(t, hookPlugin{}, children{server.Key(): {volume}}, func(c *Config) { c.Journal = kept })
					b.engine.Providers = one{b.provider}
					b.records.restores["record"] = database.Record{ID: "record", Status: progress.RecordInProgress, ResourcesStatus: map[string]string{"OS::Cinder::Volume#v": "restoring"}}
					in := input{Version: 1, Caller: "{}", Checkpoint: "c", Plan: &Plan{}}
					if c.kind == protection.Protect {
						drawn, err := b.engine.graphOf(t.Context(), []resource.Resource{server}, nil)
						if err != nil {
							t.Fatal(err)
						}
						in.Graph = drawn.packed
					}
					if c.kind == protection.Restore || c.kind == protection.Verify {
						in.Record = &Record{ID: "record", ProjectID: project}
					}
					if c.damaged {
						in.Version = 99
					}
					entry := journal.Entry{ID: "o", Kind: string(c.kind), Subject: "c", CheckpointID: "c", ProviderID: "gone", ProjectID: project,
						RecordID: "record", Input: answerOf(in), Claim: journal.Claim{Owner: b.engine.Tenure.ID()}}
					entry, _, err := kept.Begin(t.Context(), entry)
					if err != nil {
						t.Fatal(err)
					}
					if !c.queued {
						if err := kept.Start(t.Context(), "o", entry.Claim); err != nil {
							t.Fatal(err)
						}
					}
					if err := kept.Write(t.Context(), "o", entry.Claim, c.marks...); err != nil {
						t.Fatal(err)
					}
					if c.log != nil {
						row := *c.log
						row.ID, row.OperationType = "o", string(c.kind)
						b.records.logs["o"] = row
					}
					if early {
						if err := b.engine.Cancel(t.Context(), "o", "alice"); err != nil {
							t.Fatal(err)
						}
					}
					adopted, err := kept.Get(t.Context(), "o")
					if err != nil {
						t.Fatal(err)
					}
					b.engine.Adopt(*adopted)
					synctest.Wait()
					if !early {
						if d, err := b.engine.Operation(t.Context(), "o"); err != nil || d.EndedAt != nil ||
							!b.engine.Working("o") || !strings.HasPrefix(d.Reason, "it cannot go on: ") {
							t.Fatalf("before the cancel: %+v, %v", d, err)
						}
						if err := b.engine.Cancel(t.Context(), "o", "alice"); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
					}
					d, err := b.engine.Operation(t.Context(), "o")
					if err != nil || d.Status != c.status || d.Reason != c.reason || d.EndedAt == nil {
						t.Errorf("operation %+v, %v", d, err)
					}
					if b.engine.Working("o") {
						t.Error("it is still at work")
					}
					row, there := b.records.logs["o"]
					if there != (c.ended != "") || there && (row.Status != c.ended || row.EndedAt.IsZero() || row.ErrorInfo != c.reason) {
						t.Errorf("operation log %+v, want %s", row, c.ended)
					}
					record := b.records.restores["record"]
					switch c.kind {
					case protection.Restore, protection.Verify:
						want := map[string]string{"success": "available", "fail": "error"}[c.ended]
						if record.Status != c.ended || record.ResourcesStatus["OS::Cinder::Volume#v"] != want {
							t.Errorf("record %+v", record)
						}
					default:
						if record.Status != progress.RecordInProgress {
							t.Errorf("record %+v", record)
						}
					}
					if left := b.bank.Plugin.(interface{ Below(string) []string }).Below("/"); len(left) > 0 {
						t.Errorf("it wrote to the bank of another provider: %v", left)
					}
					b.finish()
				})
			})
		}
	}
}
