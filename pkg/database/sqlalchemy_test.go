// SPDX-License-Identifier: Apache-2.0

package database

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sqlalchemy runs a Python program that uses SQLAlchemy and decodes the JSON
// that it prints.
func sqlalchemy(t *testing.T, program string, args []string, result any) {
	t.Helper()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import sqlalchemy").Run(); err != nil {
		t.Skipf("no SQLAlchemy to compare with: %v", err)
	}
	cmd := exec.Command(python, append([]string{"-c", program}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaint.String())
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatal(err)
	}
}

func TestURLsAreSQLAlchemys(t *testing.T) {
	t.Parallel()
	urls := []string{
		"mysql+pymysql://karbor:pw@db/karbor?charset=utf8",
		"mysql://u:p%40s%2Fs%3A%25+@10.0.0.1:3307/k",
		"mysql://u:a/b:c@h/k",
		"mysql://u:@h/k%20x",
		"postgresql+psycopg2://u@[fd00::1]:5433/k",
		"postgresql://h",
		"postgresql://u@/k?host=/run/pg",
		"sqlite://",
		"sqlite:///karbor.sqlite",
		"sqlite:////var/lib/karbor/k%41rbor@home.sqlite",
	}
	type parts struct{ User, Password, Host, Port, Name string }
	var want []parts
	sqlalchemy(t, `
import json, sys
from sqlalchemy.engine.url import make_url
urls = map(make_url, sys.argv[1:])
print(json.dumps([dict(User=u.username or '', Password=str(u.password or ''), Host=u.host or '',
                       Port=str(u.port or ''), Name=u.database or '') for u in urls]))
`, urls, &want)
	for i, text := range urls {
		a, err := parseAddress(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want[i], parts{a.user, a.password, a.host, a.port, a.name}); diff != "" {
			t.Errorf("%s (-SQLAlchemy +ours):\n%s", text, diff)
		}
	}
}

// What is written here, Python reads with the types of karbor's models.
func TestSQLAlchemyReadsOurRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "karbor.sqlite")
	c := newClock()
	db := openTest(t, "sqlite:///"+path, Options{Clock: c.Now})
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := db.CreateOperationLog(t.Context(), &OperationLog{ProjectID: "p", OperationType: "protect", StartedAt: c.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	sqlalchemy(t, `
import json, sys
from sqlalchemy import Boolean, Column, DateTime, String, create_engine
from sqlalchemy.orm import Session, declarative_base
class OperationLog(declarative_base()):
    __tablename__ = 'operation_logs'
    id = Column(String(36), primary_key=True)
    created_at = Column(DateTime)
    updated_at = Column(DateTime)
    started_at = Column(DateTime)
    deleted = Column(Boolean)
    status = Column(String(64))
with Session(create_engine('sqlite:///' + sys.argv[1])) as session:
    row = session.query(OperationLog).filter_by(deleted=False).one()
    print(json.dumps(dict(id=row.id, created=str(row.created_at), updated=row.updated_at,
                          started=str(row.started_at), deleted=row.deleted, status=row.status)))
`, []string{path}, &got)
	want := map[string]any{
		"id": id, "created": "2026-11-22 14:42:01", "updated": nil,
		"started": "2026-11-22 14:42:01", "deleted": false, "status": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}
