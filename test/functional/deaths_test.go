// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/test/functional/history"
)

// failpoints are what a worker does, in the words of docs/reliability.md, and the
// kinds of operations that are known to do it: "all", "cancelled" for all that
// are cancelled, or names.
var failpoints = []struct{ what, name, kinds string }{
	{history.Ack, "acknowledgement of the request", "all cancelled"},
	{history.Begin, "`journal.Begin`, the entry", "all"},
	{history.Start, "`journal.Start`", "all"},
	{history.Write, "`journal.Write`, progress, plugin state, verdict", "all cancelled"},
	{history.Cancel, "`journal.Cancel`", "cancelled"},
	{history.End, "`journal.End`", "all cancelled"},
	{history.Announce, "`journal.Announce`, the first", "all"},
	{history.Retire, "`journal.Retire`, at the end of the worker", "all cancelled"},
	{history.CreateLog, "operation log made", "all"},
	{history.UpdateLog, "operation log closed", "all cancelled"},
	{history.CreateRecord, "record made", "restore verify"},
	{history.UpdateRecord, "record updated", "restore verify cancelled-restore"},
	{history.Put, "bank, put", "protect delete copy cancelled-protect"},
	{history.Delete, "bank, delete", "delete"},
	{history.Call + ".get", "Glance, GET", "protect restore"},
	{history.Call + ".post", "Glance, POST", "restore"},
	{history.Call + ".put", "Glance, PUT", "restore"},
	{history.Call + ".delete", "Glance, DELETE", "cancelled-restore"},
	{history.Reply, "reply", "all cancelled"},
	{history.Adopt, "`journal.Adopt`, by the second worker", "all"},
}

// knows reports whether a kind is known to pass what kinds says.
func (k fragileKind) knows(kinds string) bool {
	name, group := k.name, "all"
	if k.cancelled {
		name, group = "cancelled-"+k.name, "cancelled"
	}
	list := strings.Fields(kinds)
	return slices.Contains(list, name) || slices.Contains(list, group)
}

// deaths are how often a worker has died at each failpoint.
type deaths struct {
	mu    sync.Mutex
	count map[death]int
	whole map[death]bool // kinds of which every failpoint had its turn
}

type death struct {
	bank  string
	kind  fragileKind
	point string // with its phase; "" for the kind
}

func (d *deaths) add(bank string, kind fragileKind, point string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == nil {
		d.count = map[death]int{}
	}
	d.count[death{bank, kind, point}]++
}

func (d *deaths) finished(bank string, kind fragileKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole == nil {
		d.whole = map[death]bool{}
	}
	d.whole[death{bank, kind, ""}] = true
}

// at is the number of deaths before and after something.
func (d *deaths) at(bank string, kind fragileKind, what string) (before, after int) {
	return d.count[death{bank, kind, history.Event{What: what, Phase: history.Before}.Point()}],
		d.count[death{bank, kind, history.Event{What: what, Phase: history.After}.Point()}]
}

// report logs the table of docs/reliability.md. That no worker died where a kind
// is known to pass is a failure: the test has not tested it.
func (d *deaths) report(t testing.TB) {
	t.Helper()
	table, missing := d.table()
	t.Log(table)
	for _, text := range missing {
		t.Error(text)
	}
}

// table returns the table, and what should have been reached and was not.
func (d *deaths) table() (text string, missing []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	head, rule := "| failpoint; in a folder, in Swift |", "| --- |"
	for _, kind := range fragileKinds {
		head, rule = head+" "+kind.String()+" |", rule+" --- |"
	}
	total := 0
	for _, n := range d.count {
		total += n
	}
	lines := []string{fmt.Sprintf("%d deaths", total), head, rule}
	for _, f := range failpoints {
		line := "| " + f.name + " |"
		for _, kind := range fragileKinds {
			var cells []string
			for _, bank := range []string{inFolder, inSwift} {
				before, after := d.at(bank, kind, f.what)
				cell := "-"
				if before+after > 0 {
					cell = strconv.Itoa(before + after)
				}
				cells = append(cells, cell)
				if d.whole[death{bank, kind, ""}] && kind.knows(f.kinds) && (before == 0 || after == 0) {
					missing = append(missing, fmt.Sprintf("%s in %s: died %d times before and %d times after: %s", kind, bank, before, after, f.name))
				}
			}
			line += " " + strings.Join(cells, ", ") + " |"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), missing
}

// A failpoint that a kind is known to pass, and at which nobody died, is missing,
// but only of kinds that were tried as a whole.
func TestDeaths(t *testing.T) {
	t.Parallel()
	d := &deaths{}
	verify := fragileKind{"verify", false}
	for _, f := range failpoints {
		for _, phase := range []history.Phase{history.Before, history.After} {
			if verify.knows(f.kinds) && (f.what != history.End || phase == history.Before) {
				d.add(inFolder, verify, history.Event{What: f.what, Phase: phase}.Point())
			}
		}
	}
	if text, missing := d.table(); len(missing) > 0 || !strings.Contains(text, "| `journal.End` | -, - | -, - | 1, - | -, - |") {
		t.Errorf("before the end: %v\n%s", missing, text)
	}
	d.finished(inFolder, verify)
	if _, missing := d.table(); !slices.Equal(missing, []string{"verify in folder: died 1 times before and 0 times after: `journal.End`"}) {
		t.Errorf("missing: %v", missing)
	}
}
