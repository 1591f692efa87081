// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// databases are the servers that hold the tables.
var databases = []struct {
	name string
	use  func(*site) *tables
}{
	{"MariaDB", (*site).useMariaDB},
	{"PostgreSQL", (*site).usePostgreSQL},
}

// TestRecords follows what a worker writes into its tables.
func TestRecords(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			db := d.use(s)
			s.sync()
			s.sync() // the second time there is nothing to do
			p := s.fsProvider(t.TempDir(), noop)
			w := s.started("worker")
			a := s.api(stranger())
			checkHeartbeat(t, db)
			checkOperations(t, db, a, p)
			w.stop()
			if n := db.count("SELECT COUNT(*) FROM services"); n != 1 {
				t.Errorf("%d rows of services after the end, want 1", n)
			}
			s.started("worker").stop()
			if n := db.count("SELECT COUNT(*) FROM services"); n != 1 {
				t.Errorf("%d rows of services after a second start, want the first one again", n)
			}
		})
	}
}

func checkHeartbeat(t *testing.T, db *tables) {
	t.Helper()
	await(t, "the third heartbeat", func() (bool, any) {
		n := db.count("SELECT COALESCE(MAX(report_count), 0) FROM services")
		return n >= 3, n
	})
	if n := db.count("SELECT COUNT(*) FROM services WHERE host = 'worker' AND services.binary = 'karbor-protection' AND topic = 'karbor-protection' AND updated_at IS NOT NULL"); n != 1 {
		t.Errorf("%d rows of services are as the service writes them, want 1", n)
	}
}

func checkOperations(t *testing.T, db *tables, a *api, p *provider) {
	t.Helper()
	pl := a.plan(p.id, something())
	id := a.protected(pl)
	restore := db.addRecord("restores", a.caller.ProjectID, pl, id)
	a.call("restore", map[string]any{"restore": a.readArgs("Restore", restore, pl, id, nil), "restore_auth": nil}, nil)
	verification := db.addRecord("verifications", a.caller.ProjectID, pl, id)
	a.call("verification", map[string]any{"verification": a.readArgs("Verification", verification, pl, id, nil)}, nil)
	for table, record := range map[string]string{"restores": restore, "verifications": verification} {
		if got := db.finished(table, record); got.Status != "success" {
			t.Errorf("%s: %+v, want success", table, got)
		}
	}
	a.delete(pl, id)
	rows, failures := db.closed(id, 4)
	want := []logRow{
		{Type: "delete", Status: "deleted", Started: true, Ended: true, Plan: pl.id, Provider: p.id},
		{Type: "protect", Status: "available", Started: true, Ended: true, Plan: pl.id, Provider: p.id},
		{Type: "restore", Status: "success", Started: true, Ended: true, Provider: p.id, Restore: restore},
		{Type: "verify", Status: "success", Started: true, Ended: true, Provider: p.id},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("operation_logs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(make([]string, 4), failures); diff != "" {
		t.Errorf("error_info (-want +got):\n%s", diff)
	}
}

// TestDatabaseAway cuts the way to the database: what starts operations waits
// until it is back, the rest does not.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	db := s.useMariaDB()
	s.sync()
	u, err := url.Parse(db.url)
	must(t, err)
	way := newRelay(t, u.Host)
	u.Host = way.address()
	s.conf.set("database", "connection", u.String())
	s.conf.set("DEFAULT", "max_concurrent_operations", "1") // an open row must not keep the place of its operation
	p := s.fsProvider(t.TempDir(), noop)
	s.started("worker")
	a := s.api(stranger())
	pl := a.plan(p.id, something())
	before := a.protected(pl)
	db.closed(before, 1)

	way.set(false)
	type answer struct {
		id  string
		err error
	}
	answers := make(chan answer, 3)
	for range cap(answers) {
		go func() {
			var got answer
			got.err = a.try("protect", a.protectArgs(pl), &got.id)
			answers <- got
		}()
	}
	if n := a.providers(); n != 1 {
		t.Errorf("list_providers answers %d providers while the database is away, want 1", n)
	}
	way.set(true)
	var during []string
	for range cap(answers) {
		got := <-answers
		if got.err != nil {
			t.Fatalf("a protection that was asked for without a database: %v", got.err)
		}
		if status := a.settled(pl, got.id); status != "available" {
			t.Errorf("the checkpoint is %s, want available", status)
		}
		during = append(during, got.id)
	}
	want := []logRow{{Type: "protect", Status: "available", Started: true, Ended: true, Plan: pl.id, Provider: p.id}}
	for _, id := range during {
		rows, _ := db.closed(id, 1)
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("operation_logs of a protection without a database (-want +got):\n%s", diff)
		}
	}
	beats := db.count("SELECT report_count FROM services")
	await(t, "heartbeats to go on", func() (bool, any) {
		n := db.count("SELECT report_count FROM services")
		return n > beats, n
	})
}

// TestDatabaseNeverThere serves without any database, but starts nothing that
// could not be recorded.
func TestDatabaseNeverThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.conf.set("database", "connection", "mysql+pymysql://karbor:wrong@"+closedPort(t)+"/karbor")
	s.conf.set("database", "db_max_retries", "1")
	p := s.fsProvider(t.TempDir(), noop)
	w := s.started("worker")
	a := s.api(stranger())
	if n := a.providers(); n != 1 {
		t.Errorf("%d providers, want 1", n)
	}
	failure := a.refused("KarborException", "protect", a.protectArgs(a.plan(p.id, something())))
	if want := "The operation cannot be recorded: the database does not answer"; failure.Message != want {
		t.Errorf("%q, want %q", failure.Message, want)
	}
	w.logged("database")
}
