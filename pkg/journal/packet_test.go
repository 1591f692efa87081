// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

// A server of MySQL that takes statements of 1 MiB, as older ones do by default,
// keeps inputs and marks of all sizes but those which it can keep in no way: they
// are refused, by name, and their neighbours are not. It does not run beside other
// tests of this package, for it changes what their connections would get.
func TestServerOfSmallStatements(t *testing.T) { //nolint:paralleltest // see above
	server, address := scratchServer(t, "KARBOR_TEST_MYSQL", "mysql")
	var before string
	if err := server.QueryRowContext(t.Context(), "SELECT @@GLOBAL.max_allowed_packet").Scan(&before); err != nil {
		t.Fatal(err)
	}
	set := func(size string) {
		if _, err := server.Exec("SET GLOBAL max_allowed_packet = " + size); err != nil {
			t.Fatal(err)
		}
	}
	set(strconv.Itoa(1 << 20))
	t.Cleanup(func() { set(before) })
	j := journal.Open(connect(t, address, database.Options{Retry: &database.Retry{}}), journal.Options{})
	defer j.Close()
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim := journal.Claim{Owner: "w", Generation: 1}
	for name, fill := range map[string][]byte{"letters": {'a'}, "quotes": {'\'', '\\', 0}} {
		for _, size := range []int{100 << 10, 500 << 10, 1 << 20, 5 << 20, journal.MaxInput} {
			e := journal.Entry{ID: uuid.NewString(), Kind: "protect", Input: bytes.Repeat(fill, size/len(fill)), Claim: claim}
			if _, _, err := j.Begin(t.Context(), e); err != nil {
				t.Fatalf("input of %d bytes of %s: %v", size, name, err)
			}
			if got, err := j.Get(t.Context(), e.ID); err != nil || !bytes.Equal(got.Input, e.Input) {
				t.Fatalf("input of %d bytes of %s comes back as another, %v", size, name, err)
			}
			var marks []journal.Mark
			for i := range 300 {
				marks = append(marks, journal.Mark{Key: fmt.Sprint(i), Value: bytes.Repeat(fill, size/300/len(fill))})
			}
			marks = append(marks, journal.Mark{Key: "long", Value: bytes.Repeat(fill, 400<<10/len(fill))})
			if err := j.Write(t.Context(), e.ID, claim, marks...); err != nil {
				t.Fatalf("marks of %d bytes of %s: %v", size, name, err)
			}
			err := j.Write(t.Context(), e.ID, claim, journal.Mark{Key: "giant", Value: bytes.Repeat(fill, journal.MaxValue/len(fill))})
			if database.Refused(err) == nil {
				t.Errorf("a mark larger than a statement: %v, want a refusal", err)
			}
			if got, err := j.Marks(t.Context(), e.ID, ""); err != nil || len(got) != len(marks) {
				t.Errorf("%d marks, %v; want %d", len(got), err, len(marks))
			}
		}
	}
}

// scratchServer is scratch with a connection to its server.
func scratchServer(t *testing.T, variable, driver string) (*sql.DB, string) {
	t.Helper()
	address := scratch(t, variable, driver)
	server, err := sql.Open(driver, sourceOf(t, address, driver))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, address
}
