// SPDX-License-Identifier: Apache-2.0

package database

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// normal takes from a CREATE TABLE what different writers write differently.
func normal(statement string) string {
	s := strings.NewReplacer("IF NOT EXISTS ", "", " DEFAULT NULL", "", "`", "", ";", "").Replace(statement)
	s = regexp.MustCompile(` AUTO_INCREMENT=\d+`).ReplaceAllString(s, "")
	s = regexp.MustCompile(`\s*,\s*`).ReplaceAllString(s, ",\n")
	s = regexp.MustCompile(`\s*\(\s+`).ReplaceAllString(s, " (")
	s = regexp.MustCompile(`\s+\)`).ReplaceAllString(s, ")")
	return strings.TrimSpace(regexp.MustCompile(`CREATE TABLE (\w+) \(`).ReplaceAllString(s, "CREATE TABLE $1 ("))
}

// The tables on MySQL are those that karbor-manage makes.
func TestSchemaIsTheOriginals(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	statements := strings.Split(strings.TrimSpace(string(golden)), "\n\n")
	if len(statements) != len(tables) {
		t.Fatalf("%d tables, want %d", len(tables), len(statements))
	}
	for i, want := range statements {
		if diff := cmp.Diff(normal(want), normal(createTable(mysqlDialect{}, tables[i]))); diff != "" {
			t.Errorf("table %s (-want +got):\n%s", tables[i].name, diff)
		}
	}
}

func TestServerHasTheOriginalsSchema(t *testing.T) {
	t.Parallel()
	db := openTest(t, fromEnvironment("KARBOR_TEST_MYSQL")(t), Options{})
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range strings.Split(strings.TrimSpace(string(golden)), "\n\n") {
		var name, got string
		if err := db.pool.QueryRowContext(t.Context(), "SHOW CREATE TABLE "+tables[i].name).Scan(&name, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
			t.Errorf("table %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSyncLeavesExistingTables(t *testing.T) {
	t.Parallel()
	db := openTest(t, "sqlite://", Options{})
	if _, err := db.pool.ExecContext(t.Context(), "CREATE TABLE restores (id VARCHAR(36), mine TEXT)"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	query := "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
	if err := db.pool.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != len(tables) {
		t.Errorf("%d tables (%v), want %d", n, err, len(tables))
	}
	if _, err := db.pool.ExecContext(t.Context(), "SELECT mine FROM restores"); err != nil {
		t.Error(err)
	}
}
