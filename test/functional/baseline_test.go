// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/functional/history"
)

// The loads of TestBackToTheBaseline, and what an operation may leave in memory:
// less than its entry in any list of operations would be.
const (
	warmUp        = 2
	loads         = 3
	leftOfEach    = 1 << 10
	inParallel    = 3
	opsOfOneLoad  = inParallel * 6
	heapOfTheTime = 256 << 10 // of buffers and pools, which come and go
)

// TestBackToTheBaseline puts the same mixed load on a worker again and again:
// protections, restores, verifications and deletions that end, and protections
// and restores that are cancelled in the midst of their data. At rest it has no
// more goroutines and descriptors, and no more memory, than after the first.
func TestBackToTheBaseline(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE")
	tr := newTrial(t, inFolder, image)
	g := tr.useGate(tr.user)
	l := &mixedLoad{trial: tr, api: tr.caller(), gate: g, source: tr.user.upload(mib / 8)}
	w := tr.begin("worker", "FRAGILE_USE="+tr.path("use"))
	w.ready()
	for range warmUp {
		l.run()
	}
	before := w.use() // with all connections that a load needs, before idle ones are closed
	for range loads {
		l.run()
	}
	more := int64(loads*opsOfOneLoad*leftOfEach + heapOfTheTime)
	await(t, "the worker to be back at its baseline", func() (bool, any) {
		now := w.use()
		return !now.Beyond(before, more), [2]history.Use{before, now}
	})
	tr.rest(w)
	tr.judge("mixed loads")
}

// use asks a fragile worker for what it uses.
func (w *worker) use() (u history.Use) {
	w.t.Helper()
	path := w.site.path("use")
	_ = os.Remove(path)
	w.signal(syscall.SIGUSR1)
	await(w.t, "what the worker uses", func() (bool, any) {
		text, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(text, &u) == nil, err
	})
	return u
}

// mixedLoad is a load that is the same each time.
type mixedLoad struct {
	trial  *trial
	api    *api
	gate   *gate
	source resource.Resource
	count  int // of restores
}

func (l *mixedLoad) run() {
	l.trial.t.Helper()
	var kept, gone []string
	for range inParallel {
		kept = append(kept, l.ask("protect", "", false))
	}
	l.end()
	for _, checkpoint := range kept {
		l.ask("restore", checkpoint, false)
		l.ask("verify", checkpoint, false)
	}
	l.end()
	l.gate.shut()
	for range inParallel {
		gone = append(gone, l.ask("protect", "", true))
	}
	l.cancel(len(gone))
	l.gate.shutFor(http.MethodPut)
	for _, checkpoint := range kept {
		l.ask("restore", checkpoint, true)
	}
	l.cancel(len(kept))
	for _, checkpoint := range kept {
		l.ask("delete", checkpoint, false)
	}
	l.end()
}

// end waits until everything has ended.
func (l *mixedLoad) end() {
	l.trial.t.Helper()
	await(l.trial.t, "every operation to end", func() (bool, any) { n := l.trial.unfinished(); return n == 0, n })
}

// cancel ends count operations when the data of all are held at the gate.
func (l *mixedLoad) cancel(count int) {
	l.trial.t.Helper()
	for range count {
		<-l.gate.held
	}
	var ids []string
	l.trial.db.each("SELECT id FROM protection_operations WHERE state <> 'ended'", 1, func(c []string) { ids = append(ids, c[0]) })
	for _, id := range ids {
		l.api.call("cancel_operation", map[string]any{"operation_id": id}, nil)
	}
	l.end()
	l.gate.open()
}

// ask begins an operation and returns its result.
func (l *mixedLoad) ask(kind, checkpoint string, cancelled bool) string {
	l.trial.t.Helper()
	r := history.Request{Kind: kind, Checkpoint: checkpoint, Answered: true, Cancelled: cancelled}
	switch about := map[string]any{"provider_id": l.trial.provider, "checkpoint_id": checkpoint}; kind {
	case "protect":
		plan := l.api.plan(l.trial.provider, l.source)
		r.Plan = plan.id
		l.api.call("protect", l.api.protectArgs(plan), &r.Result)
	case "restore":
		l.count++
		r.Image = fmt.Sprintf("%s-%d", l.trial.restored(), l.count)
		about["parameters"] = map[string]any{resource.Image: map[string]any{"restore_name": r.Image}}
		l.api.call("execute_operation", map[string]any{"action": kind, "backup_plan": about}, &r.Result)
	default:
		var record *string
		l.api.call("execute_operation", map[string]any{"action": kind, "backup_plan": about}, &record)
		if record != nil {
			r.Result = *record
		}
	}
	l.trial.asked(r)
	return r.Result
}
