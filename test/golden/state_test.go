// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

// The day and the second at which the recording began.
const (
	recordedDay    = "2026-11-22"
	recordedSecond = 1795362440
)

// epoch matches the timestamps of the recording.
var epoch = regexp.MustCompile(`\b17953\d{5}\b`)

// shift moves what was recorded to the present, because a listing from a day on
// ends today.
type shift struct {
	day    string
	offset int64
}

func newShift(now time.Time) shift {
	return shift{day: now.UTC().Format(time.DateOnly), offset: now.Unix() - recordedSecond}
}

func (s shift) text(text string) string {
	text = strings.ReplaceAll(text, recordedDay, s.day)
	return epoch.ReplaceAllStringFunc(text, func(second string) string {
		n, err := strconv.ParseInt(second, 10, 64)
		if err != nil {
			return second
		}
		return strconv.FormatInt(n+s.offset, 10)
	})
}

// objects are the objects of a bank by key.
type objects map[string]string

// remember brings a bank to the state that a scenario left.
func (o objects) remember(s *scenario) {
	for _, after := range []map[string]string{s.BankAfter, s.BankLeft} {
		for id := range checkpointsOf(after) {
			maps.DeleteFunc(o, func(key, _ string) bool { return strings.Contains(key, id) })
		}
	}
	maps.Copy(o, s.BankAfter)
	maps.Copy(o, s.BankLeft)
}

// checkpointsOf returns the ids of the checkpoints in a bank.
func checkpointsOf(o objects) map[string]bool {
	ids := map[string]bool{}
	for key := range o {
		if id, _, ok := strings.Cut(strings.TrimPrefix(key, "/checkpoints/"), "/"); ok && strings.HasPrefix(key, "/checkpoints/") {
			ids[id] = true
		}
	}
	return ids
}

// fillBank makes the service's bank hold these objects and no others.
func (d *daemon) fillBank(t *testing.T, o objects, s shift) {
	t.Helper()
	for _, below := range []string{"checkpoints", "indices"} { // the marker of the bank stays
		if err := os.RemoveAll(filepath.Join(d.bankPath, below)); err != nil {
			t.Fatal(err)
		}
	}
	for key, text := range o {
		d.putObject(t, s.text(key), s.text(text))
	}
}

func (d *daemon) putObject(t *testing.T, key, text string) {
	t.Helper()
	path := filepath.Join(d.bankPath, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readBank returns the objects whose keys have one of the ids in them.
func (d *daemon) readBank(t *testing.T, ids map[string]bool) objects {
	t.Helper()
	found := objects{}
	_ = filepath.WalkDir(d.bankPath, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // a flow may be at work on it
		}
		key := strings.TrimPrefix(path, d.bankPath)
		for id := range ids {
			if !strings.Contains(key, id) {
				continue
			}
			if text, err := os.ReadFile(path); err == nil {
				found[key] = string(text)
			}
		}
		return nil
	})
	return found
}

// rows are the tables, opened beside the service.
type rows struct{ db *sql.DB }

func (d *daemon) openRows(t *testing.T) rows {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.path("karbor.sqlite")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return rows{db}
}

func (r rows) clear(t *testing.T) {
	t.Helper()
	for _, table := range []string{"operation_logs", "restores", "verifications"} {
		if _, err := r.db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
}

// settle waits until every flow has ended.
func (r rows) settle(t *testing.T) {
	t.Helper()
	objection := eventually(func() string {
		var open int
		if err := r.db.QueryRow("SELECT count(*) FROM operation_logs WHERE ended_at IS NULL").Scan(&open); err != nil || open > 0 {
			return fmt.Sprintf("%d operation logs are open: %v", open, err)
		}
		return ""
	})
	if objection != "" {
		t.Error(objection)
	}
}

// read returns the rows of a table, with the columns of the recording only.
func (r rows) read(t *testing.T, table string) []row {
	t.Helper()
	result, err := r.db.Query("SELECT * FROM " + table)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	all := []row{}
	for result.Next() {
		values := make([]any, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := result.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		one := row{}
		for i, column := range columns {
			one[column] = values[i]
		}
		all = append(all, one)
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// insertRecords makes the rows that karbor-api had made before its call.
func (d *daemon) insertRecords(t *testing.T, s *scenario) {
	t.Helper()
	text := func(r row, column string) string {
		value, _ := r[column].(string)
		return value
	}
	for _, table := range []struct {
		rows []row
		kind database.RecordKind
	}{{s.Restores, database.Restores}, {s.Verifications, database.Verifications}} {
		for _, r := range table.rows {
			_, err := d.db.Create(context.Background(), table.kind, &database.Record{ID: text(r, "id"), ProjectID: text(r, "project_id"),
				ProviderID: text(r, "provider_id"), CheckpointID: text(r, "checkpoint_id"), Status: "in_progress",
				Parameters: json.RawMessage(text(r, "parameters"))})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
