// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/test/functional/history"
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

// trial is an installation whose workers write down what they do, and what a
// judge needs beside.
type trial struct {
	*site
	t        *testing.T
	program  string
	provider string
	bank     *provider // its file
	shelf    shelf
	user     *user // nil: the plugin copies nothing

	metrics map[string]string // of a worker, by its host, before it was stopped
	mayFail bool              // something that operations need is taken away

	mu       sync.Mutex
	requests []history.Request
}

// The banks of trials.
const (
	inFolder = "folder"
	inSwift  = "Swift"
)

// newTrial makes an installation with a bank; with images of a real Glance, or
// with a plugin that copies nothing.
func newTrial(t *testing.T, bank, plugin string) *trial {
	t.Helper()
	path, err := fragile()
	must(t, err)
	tr := &trial{site: newSite(t), t: t, program: path, metrics: map[string]string{}}
	tr.useMariaDB()
	if plugin == image || bank == inSwift {
		tr.useCloud()
	}
	tr.sync()
	tr.conf.set("DEFAULT", "operation_owner_hold", "4")
	tr.conf.set("DEFAULT", "operation_scan_interval", "1")
	tr.conf.set("DEFAULT", "operation_crash_limit", "0") // it is the test that ends the workers
	tr.conf.set("DEFAULT", "metrics_listen", "127.0.0.1:0")
	var p *provider
	if bank == inSwift {
		account := swift(t)
		container := account.container()
		p, tr.shelf = tr.swiftProvider(container, plugin), swiftShelf{account, container}
		p.conf.set("swift_client", "swift_retry_attempts", "5") // it is not Swift that is on trial
		tr.writeProvider(p)
	} else {
		folder := t.TempDir()
		p, tr.shelf = tr.fsProvider(folder, plugin), folderShelf{t, folder}
	}
	tr.provider, tr.bank = p.id, p
	if plugin == image {
		p.conf.set("image_backup_plugin", "backup_image_object_size", "65536")
		tr.writeProvider(p)
		tr.user = demo(t)
		t.Cleanup(tr.removeRestored)
	}
	return tr
}

// caller is who asks for operations.
func (tr *trial) caller() *api {
	tr.t.Helper()
	if tr.user == nil {
		return tr.api(stranger())
	}
	return tr.api(tr.user.caller)
}

// begin starts a worker that writes down what it does.
func (tr *trial) begin(host string, env ...string) *worker {
	tr.t.Helper()
	return tr.startAs(tr.program, host, append(env, "FRAGILE_HISTORY="+tr.path("history"))...)
}

func (tr *trial) asked(r history.Request) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.requests = append(tr.requests, r)
}

// restored is how the names of restored images begin.
func (tr *trial) restored() string { return "restored-" + tr.exchange }

func (tr *trial) removeRestored() {
	if tr.user != nil {
		for _, i := range tr.user.imagesNamed(tr.restored()) {
			tr.user.removeImage(i.ID)
		}
	}
}

// forget removes all traces of the operations, so that the next are the only ones.
func (tr *trial) forget() {
	tr.t.Helper()
	tr.removeRestored()
	tr.shelf.clear()
	for _, table := range []string{"protection_operations", "protection_marks", "protection_inputs", "protection_owners",
		"operation_logs", "restores", "verifications"} {
		execute(tr.t, tr.db.sql, "DELETE FROM "+table)
	}
	must(tr.t, os.WriteFile(tr.path("history"), nil, 0o600))
	tr.requests = nil
}

func (tr *trial) events() []history.Event {
	tr.t.Helper()
	events, err := history.Read(tr.path("history"))
	must(tr.t, err)
	return events
}

// judge compares what the workers did and what the callers asked for with what
// is there. It wants all workers to have ended. about says what it was.
func (tr *trial) judge(about string) {
	tr.t.Helper()
	events := tr.events()
	if tr.user != nil {
		events = append(events, history.Event{What: history.Secret, Key: tr.user.caller.AuthToken})
	}
	for _, finding := range history.Judge(history.Case{Events: events, Requests: tr.requests, State: tr.state(events), MayFail: tr.mayFail}) {
		tr.t.Errorf("%s: %s", about, finding)
	}
}

// unfinished is the number of operations that have not ended.
func (tr *trial) unfinished() int {
	tr.t.Helper()
	return tr.db.count("SELECT COUNT(*) FROM protection_operations WHERE state <> 'ended'")
}

// rest waits until all operations have ended and stops the workers. A message
// that they have given back is for the next ones.
func (tr *trial) rest(workers ...*worker) {
	tr.t.Helper()
	for {
		await(tr.t, "every operation to end", func() (bool, any) { n := tr.unfinished(); return n == 0, n })
		for _, w := range workers {
			tr.metrics[w.host] = w.metrics()
			w.stop()
		}
		left := tr.unfinished()
		for _, n := range tr.queues() {
			left += n
		}
		if left == 0 {
			return
		}
		for i, w := range workers {
			workers[i] = tr.begin(w.host)
			workers[i].ready()
		}
		await(tr.t, "messages to be taken", func() (bool, any) {
			queues := tr.queues()
			return !slices.ContainsFunc(slices.Collect(maps.Values(queues)), func(n int) bool { return n > 0 }), queues
		})
	}
}

// queues returns the messages that wait, by queue.
func (tr *trial) queues() map[string]int {
	tr.t.Helper()
	conn, err := amqp.Dial(strings.Replace(os.Getenv("RABBIT_URL"), "rabbit://", "amqp://", 1))
	must(tr.t, err)
	defer conn.Close()
	waiting := map[string]int{}
	names := []string{tr.topic}
	for host := range tr.hosts {
		names = append(names, tr.topic+"."+host)
	}
	for _, name := range names {
		ch, err := conn.Channel()
		must(tr.t, err)
		if queue, err := ch.QueueDeclarePassive(name, false, false, false, false, nil); err == nil {
			waiting[name] = queue.Messages
		}
		_ = ch.Close() // the server has closed it when there is no such queue
	}
	return waiting
}

// state reads what is there.
func (tr *trial) state(events []history.Event) history.State {
	tr.t.Helper()
	state := history.State{
		Objects: tr.shelf.objects(), Copies: tr.user != nil, Leases: tr.shelf.leases(owners(events)),
		Queues: tr.queues(), Texts: tr.texts(),
		Strays: tr.db.count("SELECT (SELECT COUNT(*) FROM protection_marks m LEFT JOIN protection_operations o ON o.id = m.operation WHERE o.id IS NULL) + " +
			"(SELECT COUNT(*) FROM protection_inputs i LEFT JOIN protection_operations o ON o.id = i.operation WHERE o.id IS NULL)"),
	}
	tr.db.each("SELECT id, kind, checkpoint_id, plan_id, record_id, state, outcome, cancelled_by FROM protection_operations", 8, func(c []string) {
		state.Operations = append(state.Operations,
			history.Operation{ID: c[0], Kind: c[1], Checkpoint: c[2], Plan: c[3], Record: c[4], Ended: c[5] == "ended", Outcome: c[6], CancelledBy: c[7]})
	})
	tr.db.each("SELECT id, status, ended_at FROM operation_logs", 3, func(c []string) {
		state.Logs = append(state.Logs, history.Log{ID: c[0], Status: c[1], Closed: c[2] != ""})
	})
	for kind, table := range map[string]string{"restore": "restores", "verify": "verifications"} {
		tr.db.each("SELECT id, status FROM "+table, 2, func(c []string) {
			state.Records = append(state.Records, history.Record{ID: c[0], Kind: kind, Status: c[1]})
		})
	}
	if tr.user != nil {
		for _, i := range tr.user.imagesNamed(tr.restored()) {
			state.Images = append(state.Images, history.Image{ID: i.ID, Name: i.Name, Status: i.Status})
		}
	}
	return state
}

// owners are those who wrote to the bank.
func owners(events []history.Event) []string {
	seen := map[string]bool{}
	for _, e := range events {
		if e.What == history.Put && e.Owner != "" {
			seen[e.Owner] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// texts are the logs, the metrics and all tables.
func (tr *trial) texts() map[string]string {
	tr.t.Helper()
	texts := map[string]string{}
	for host := range tr.hosts {
		text, err := os.ReadFile(tr.path(host + ".log"))
		must(tr.t, err)
		texts["the log of "+host] = string(text)
	}
	for host, text := range tr.metrics {
		texts["the metrics of "+host] = text
	}
	var names []string
	tr.db.each("SHOW TABLES", 1, func(c []string) { names = append(names, c[0]) })
	for _, name := range names {
		var text strings.Builder
		tr.db.each("SELECT * FROM "+name, 0, func(c []string) { text.WriteString(strings.Join(c, " ") + "\n") })
		texts["table "+name] = text.String()
	}
	return texts
}

// each calls visit with the columns of each row as texts, NULL as "". columns is
// their number, 0 for whatever it is.
func (d *tables) each(query string, columns int, visit func([]string)) {
	d.t.Helper()
	rows, err := d.sql.Query(query)
	must(d.t, err)
	defer rows.Close()
	names, err := rows.Columns()
	must(d.t, err)
	if columns != 0 && len(names) != columns {
		d.t.Fatalf("%s: %d columns, want %d", query, len(names), columns)
	}
	for rows.Next() {
		raw, into, texts := make([]sql.RawBytes, len(names)), make([]any, len(names)), make([]string, len(names))
		for i := range raw {
			into[i] = &raw[i]
		}
		must(d.t, rows.Scan(into...))
		for i := range raw {
			texts[i] = string(raw[i])
		}
		visit(texts)
	}
	must(d.t, rows.Err())
}

// betweenLooks is the pause between two looks at the database.
const betweenLooks = 50 * time.Millisecond
