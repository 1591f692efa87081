// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
)

// TestRandomKills kills workers at random moments of a mixed load. Whatever was
// accepted ends as it should, once, and nothing is left behind.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.useMariaDB()
	s.sync()
	p := s.fsProvider(t.TempDir(), noop)
	s.massacre(&mob{api: s.api(stranger()), provider: p.id, resource: something}, 10)
}

// TestRandomKillsInTheCloud does the same with images of a real Glance and a
// bank in a real Swift.
func TestRandomKillsInTheCloud(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	store := swift(t)
	container := store.container()
	p := s.swiftProvider(container, image)
	u := demo(t)
	source := u.upload(mib)
	name := "restored-" + s.exchange
	t.Cleanup(func() {
		for _, id := range u.images(name) {
			u.removeImage(id)
		}
	})
	m := &mob{api: s.api(u.caller), provider: p.id, resource: func() resource.Resource { return source },
		parameters: map[string]any{resource.Image: map[string]any{"restore_name": name}}}
	s.massacre(m, 3)

	// Restores whose caller got no answer count as well.
	if images, restores := len(u.images(name)), db.count("SELECT COUNT(*) FROM restores WHERE status = 'success'"); images != restores {
		t.Errorf("%d images were made by %d restores", images, restores)
	}
	for _, object := range store.list(container) {
		for _, id := range m.deleted {
			if strings.Contains(object, id) && !strings.HasSuffix(object, "/index.json") && !strings.HasSuffix(object, "/status") {
				t.Errorf("a deleted checkpoint has left %s", object)
			}
		}
	}
}

// massacre kills workers while a mob keeps them busy: count times, unless
// KARBOR_TEST_KILLS says otherwise.
func (s *site) massacre(m *mob, count int) {
	t, db := s.t, s.db
	t.Helper()
	if text := os.Getenv("KARBOR_TEST_KILLS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("KARBOR_TEST_KILLS: %v", err)
		}
	}
	s.conf.set("DEFAULT", "operation_owner_hold", "2")
	s.conf.set("DEFAULT", "operation_scan_interval", "1")
	hosts := []string{"one", "two", "three"}
	workers := map[string]*worker{}
	for _, host := range hosts {
		workers[host] = s.started(host)
	}

	m.stop = make(chan struct{})
	m.api.client = m.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 5 * time.Second })
	var running sync.WaitGroup
	for range 4 {
		running.Go(m.run)
	}
	for i := range count {
		// Some work between two kills, rather than some time.
		before := m.accepted()
		await(t, "work that is accepted", func() (bool, any) { n := m.accepted() - before; return n > rand.IntN(6), n })
		host := hosts[rand.IntN(len(hosts))]
		workers[host].kill()
		workers[host] = s.start(host)
		if i%3 == 0 {
			workers[host].ready()
		}
	}
	close(m.stop)
	running.Wait()

	await(t, "every operation to end", func() (bool, any) {
		n := db.count("SELECT COUNT(*) FROM protection_operations WHERE state <> 'ended'")
		return n == 0, n
	})
	m.judge(t, db)
	t.Logf("%d kills, %d operations accepted, %d changed hands", count, m.accepted(),
		db.count("SELECT COUNT(*) FROM protection_operations WHERE generation > 1"))
}

// mob is a load of calls whose answers it keeps.
type mob struct {
	api        *api
	provider   string
	resource   func() resource.Resource
	parameters map[string]any // of restores
	stop       chan struct{}

	mu        sync.Mutex
	protected []plan            // of every accepted protection
	ids       map[string]string // its checkpoint, by plan
	deleted   []string          // checkpoints whose deletion was accepted
	touched   map[string]bool   // checkpoints whose deletion was asked for
	restores  []string          // records
	verifies  []string
}

func (m *mob) accepted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.protected) + len(m.deleted) + len(m.restores) + len(m.verifies)
}

func (m *mob) run() {
	for {
		select {
		case <-m.stop:
			return
		default:
		}
		m.protect()
		if rand.IntN(2) == 0 {
			m.use()
		}
	}
}

func (m *mob) protect() {
	pl := m.api.plan(m.provider, m.resource())
	var id string
	if m.api.try("protect", m.api.protectArgs(pl), &id) != nil {
		return // its worker was killed before it could answer
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ids == nil {
		m.ids, m.touched = map[string]string{}, map[string]bool{}
	}
	m.protected = append(m.protected, pl)
	m.ids[pl.id] = id
}

// use does something with a checkpoint that nobody has asked to delete.
func (m *mob) use() {
	kind := []string{"delete", "restore", "verify"}[rand.IntN(3)]
	m.mu.Lock()
	var id string
	for range 10 {
		if len(m.protected) == 0 {
			break
		}
		if candidate := m.ids[m.protected[rand.IntN(len(m.protected))].id]; !m.touched[candidate] {
			id = candidate
			break
		}
	}
	if id != "" && kind == "delete" {
		m.touched[id] = true
	}
	m.mu.Unlock()
	if id == "" {
		return
	}
	var record *string
	err := m.api.try("execute_operation", map[string]any{
		"backup_plan": map[string]any{"provider_id": m.provider, "checkpoint_id": id, "parameters": m.parameters}, "action": kind,
	}, &record)
	if err != nil {
		return // not answered, or not available any more
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch kind {
	case "delete":
		m.deleted = append(m.deleted, id)
	case "restore":
		m.restores = append(m.restores, *record)
	case "verify":
		m.verifies = append(m.verifies, *record)
	}
}

// judge compares what was accepted with what became of it.
func (m *mob) judge(t testing.TB, db *tables) {
	t.Helper()
	deleted := map[string]bool{}
	for _, id := range m.deleted {
		deleted[id] = true
	}
	for _, pl := range m.protected {
		id := m.ids[pl.id]
		status := m.api.show(pl, id).Status
		switch {
		case deleted[id] && status != "deleted":
			t.Errorf("checkpoint %s is %s, its deletion was accepted", id, status)
		case !m.touched[id] && status != "available":
			t.Errorf("checkpoint %s is %s, want available", id, status)
		case status != "available" && status != "deleted":
			t.Errorf("checkpoint %s is %s", id, status)
		}
	}
	for table, ids := range map[string][]string{"restores": m.restores, "verifications": m.verifies} {
		for _, id := range ids {
			if r := db.record(table, id); r.Status != "success" {
				t.Errorf("%s %s is %s, want success", table, id, r.Status)
			}
		}
		if n := db.count(fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE status = 'in_progress'", table)); n != 0 {
			t.Errorf("%d rows of %s are in progress", n, table)
		}
	}
	for what, query := range map[string]string{
		"operation logs that are open":           "SELECT COUNT(*) FROM operation_logs WHERE ended_at IS NULL",
		"operations without an operation log":    "SELECT COUNT(*) FROM protection_operations o LEFT JOIN operation_logs l ON l.id = CONVERT(o.id USING utf8mb3) WHERE l.id IS NULL AND o.outcome = 'succeeded'",
		"plans that were protected twice":        "SELECT COUNT(*) FROM (SELECT plan_id FROM operation_logs WHERE operation_type = 'protect' GROUP BY plan_id HAVING COUNT(*) > 1) twice",
		"operations that failed":                 "SELECT COUNT(*) FROM protection_operations WHERE outcome <> 'succeeded' AND kind <> 'restore' AND kind <> 'verify' AND kind <> 'delete'",
		"checkpoints that were deleted twice":    "SELECT COUNT(*) FROM (SELECT checkpoint_id FROM operation_logs WHERE operation_type = 'delete' AND status = 'deleted' GROUP BY checkpoint_id HAVING COUNT(*) > 1) twice",
		"operation logs that end as in progress": "SELECT COUNT(*) FROM operation_logs WHERE status IN ('protecting', 'deleting', 'in_progress')",
	} {
		if n := db.count(query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}
