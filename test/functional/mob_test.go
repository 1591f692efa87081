// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/functional/history"
)

// mob is a load of callers who protect, restore, verify and delete.
type mob struct {
	trial    *trial
	api      *api
	resource func() resource.Resource

	mu          sync.Mutex
	checkpoints []string        // of answered protections
	touched     map[string]bool // checkpoints whose deletion was asked for
	asked       int
}

func newMob(tr *trial, resource func() resource.Resource) *mob {
	return &mob{trial: tr, api: tr.caller(), resource: resource, touched: map[string]bool{}}
}

// start lets some callers ask until the function returned is called, which waits
// for their last answers.
func (m *mob) start(callers int) (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m.protect()
				if rand.IntN(2) == 0 {
					m.use()
				}
			}
		})
	}
	return func() {
		close(stop)
		running.Wait()
	}
}

// accepted is the number of requests that were answered.
func (m *mob) accepted() int {
	m.trial.mu.Lock()
	defer m.trial.mu.Unlock()
	n := 0
	for _, r := range m.trial.requests {
		if r.Answered {
			n++
		}
	}
	return n
}

func (m *mob) protect() {
	pl := m.api.plan(m.trial.provider, m.resource())
	r := history.Request{Kind: "protect", Plan: pl.id}
	r.Answered = m.api.try("protect", m.api.protectArgs(pl), &r.Result) == nil
	m.trial.asked(r)
	if !r.Answered {
		return // its worker was killed before it could answer
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checkpoints = append(m.checkpoints, r.Result)
}

// use does something with a checkpoint that nobody has asked to delete.
func (m *mob) use() {
	r := history.Request{Kind: []string{"delete", "restore", "verify"}[rand.IntN(3)]}
	r.Checkpoint, r.Image = m.choose(r.Kind)
	if r.Checkpoint == "" {
		return
	}
	about := map[string]any{"provider_id": m.trial.provider, "checkpoint_id": r.Checkpoint}
	if r.Image != "" {
		about["parameters"] = map[string]any{resource.Image: map[string]any{"restore_name": r.Image}}
	}
	var record *string
	r.Answered = m.api.try("execute_operation", map[string]any{"backup_plan": about, "action": r.Kind}, &record) == nil
	if record != nil {
		r.Result = *record
	}
	m.trial.asked(r)
}

// choose picks a checkpoint, "" for none, and the name for its image.
func (m *mob) choose(kind string) (checkpoint, image string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range 10 {
		if len(m.checkpoints) == 0 {
			return "", ""
		}
		if candidate := m.checkpoints[rand.IntN(len(m.checkpoints))]; !m.touched[candidate] {
			checkpoint = candidate
			break
		}
	}
	if checkpoint == "" {
		return "", ""
	}
	if kind == "delete" {
		m.touched[checkpoint] = true
	}
	if kind == "restore" && m.trial.user != nil {
		m.asked++
		image = fmt.Sprintf("%s-%d", m.trial.restored(), m.asked)
	}
	return checkpoint, image
}
