// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// fragile builds the service with failpoints, once.
var fragile = sync.OnceValues(func() (string, error) {
	path := program + "-fragile"
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./fragile").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the service with failpoints: %w\n%s", err, out)
	}
	return path, err
})

// all is what KARBOR_TEST_FAILPOINTS asks for every passing of every failpoint
// in every kind of operation with; else there are a few.
const all = "all"

// TestFailpoints lets a worker die at its failpoints, one after the other, in
// each kind of operation. The next worker must bring the operation to the end
// that it would have had.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE")
	path, err := fragile()
	must(t, err)
	every, kinds := 8, []string{"protect"} // of many points a few
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == all {
		every, kinds = 1, []string{"protect", "restore", "verify", "delete"}
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newFragile(t, path, kind)
			passed := s.watch()
			tried := 0
			for _, name := range slices.Sorted(maps.Keys(passed)) {
				for n := 1; n <= passed[name]; n++ {
					if tried++; tried%every != 0 {
						continue
					}
					died, ended := s.at(name, n)
					t.Logf("%-8s %-22s %d: died %-5t, ended %s", kind, name, n, died, ended)
				}
			}
		})
	}
}

// fragileSite is an installation for one kind of operation.
type fragileSite struct {
	*site
	t       *testing.T
	path    string
	kind    string
	db      *tables
	api     *api
	plan    plan
	user    *user
	restore string // the name of restored images
}

func newFragile(t *testing.T, path, kind string) *fragileSite {
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	s.conf.set("DEFAULT", "operation_owner_hold", "2")
	s.conf.set("DEFAULT", "operation_scan_interval", "1")
	p := s.fsProvider(t.TempDir(), image)
	u := demo(t)
	f := &fragileSite{site: s, t: t, path: path, kind: kind, db: db, api: s.api(u.caller), user: u, restore: "restored-" + s.exchange}
	f.plan = f.api.plan(p.id, u.upload(mib))
	t.Cleanup(f.removeRestored)
	return f
}

func (f *fragileSite) removeRestored() {
	for _, id := range f.user.images(f.restore) {
		f.user.removeImage(id)
	}
}

// prepare makes what the operation works on, with an ordinary worker.
func (f *fragileSite) prepare() (checkpoint string) {
	if f.kind == "protect" {
		return ""
	}
	w := f.started("worker")
	checkpoint = f.api.protected(f.plan)
	w.stop()
	return checkpoint
}

// ask sends the request. Whether it is answered depends on when its worker dies.
func (f *fragileSite) ask(checkpoint string) error {
	patient := *f.api
	patient.client = f.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 20 * time.Second })
	if f.kind == "protect" {
		return patient.try("protect", patient.protectArgs(f.plan), nil)
	}
	about := map[string]any{"provider_id": f.plan.provider, "checkpoint_id": checkpoint}
	if f.kind == "restore" {
		about["parameters"] = map[string]any{"OS::Glance::Image": map[string]any{"restore_name": f.restore}}
	}
	return patient.try("execute_operation", map[string]any{"action": f.kind, "backup_plan": about}, nil)
}

// watch counts the failpoints that an undisturbed operation passes.
func (f *fragileSite) watch() map[string]int {
	f.t.Helper()
	checkpoint := f.prepare()
	log := f.site.path("points")
	w := f.startAs(f.path, "worker", "FRAGILE_LOG="+log)
	w.ready()
	must(f.t, f.ask(checkpoint))
	f.settle(checkpoint)
	w.stop()
	text, err := os.ReadFile(log)
	must(f.t, err)
	passed := map[string]int{}
	for _, name := range strings.Fields(string(text)) {
		passed[name]++
	}
	f.clear()
	return passed
}

// at lets a worker die at one passing of a failpoint, and the next one go on.
func (f *fragileSite) at(name string, n int) (died bool, ended string) {
	f.t.Helper()
	checkpoint := f.prepare()
	first := f.startAs(f.path, "worker", fmt.Sprintf("FRAGILE_AT=%s:%d", name, n))
	first.ready()
	answered := make(chan error, 1)
	go func() { answered <- f.ask(checkpoint) }()
	select {
	case <-first.ended:
		died = true
	case <-f.quiet(answered):
		// It may still come to the point while it stops, or in this moment.
		_ = first.cmd.Process.Signal(syscall.SIGTERM)
		died = first.wait() != 0
	}
	second := f.started("worker")
	if died { // an answer may come from the next worker, or never
		<-answered
	}
	ended = f.settle(checkpoint)
	second.stop()
	f.clear()
	return died, ended
}

// quiet is closed when the request was answered and its operation has ended:
// the worker did not come to its failpoint.
func (f *fragileSite) quiet(answered chan error) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := <-answered
		answered <- err
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			var open int
			if f.db.sql.QueryRow("SELECT COUNT(*) FROM protection_operations WHERE state <> 'ended'").Scan(&open) == nil && open == 0 {
				return
			}
			time.Sleep(50 * time.Millisecond) // between two looks
		}
	}()
	return done
}

// settle waits for the end and compares what is there with what has to be.
func (f *fragileSite) settle(checkpoint string) string {
	f.t.Helper()
	await(f.t, "the "+f.kind+" to end", func() (bool, any) {
		n := f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '" + f.kind + "' AND state = 'ended'")
		open := f.db.count("SELECT COUNT(*) FROM protection_operations WHERE state <> 'ended'")
		return n > 0 && open == 0, [2]int{n, open}
	})
	want := map[string]int{
		"SELECT COUNT(*) FROM protection_operations WHERE kind = '" + f.kind + "'":    1,
		"SELECT COUNT(*) FROM protection_operations WHERE outcome <> 'succeeded'":     0,
		"SELECT COUNT(*) FROM operation_logs WHERE operation_type = '" + f.kind + "'": 1,
		"SELECT COUNT(*) FROM operation_logs WHERE ended_at IS NULL":                  0,
	}
	for query, n := range want {
		if got := f.db.count(query); got != n {
			f.t.Errorf("%s: %d, want %d", query, got, n)
		}
	}
	switch f.kind {
	case "protect":
		must(f.t, f.db.sql.QueryRow("SELECT checkpoint_id FROM operation_logs WHERE operation_type = 'protect'").Scan(&checkpoint))
	case "restore":
		if n := len(f.user.images(f.restore)); n != 1 {
			f.t.Errorf("%d images were restored, want 1", n)
		}
		f.oneRecord("restores")
	case "verify":
		f.oneRecord("verifications")
	}
	status := f.api.show(f.plan, checkpoint).Status
	wanted := "available"
	if f.kind == "delete" {
		wanted = "deleted"
	}
	if status != wanted {
		f.t.Errorf("the checkpoint is %s, want %s", status, wanted)
	}
	return status
}

func (f *fragileSite) oneRecord(table string) {
	f.t.Helper()
	if n := f.db.count("SELECT COUNT(*) FROM " + table + " WHERE status = 'success'"); n != 1 {
		f.t.Errorf("%d rows of %s tell of success, want 1", n, table)
	}
	if n := f.db.count("SELECT COUNT(*) FROM " + table); n != 1 {
		f.t.Errorf("%d rows of %s, want 1", n, table)
	}
}

// clear forgets what has been, so that the next run is the only one.
func (f *fragileSite) clear() {
	f.t.Helper()
	f.removeRestored()
	for _, table := range []string{"protection_operations", "protection_marks", "protection_inputs", "protection_owners",
		"operation_logs", "restores", "verifications"} {
		execute(f.t, f.db.sql, "DELETE FROM "+table)
	}
}
