// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/journal"
)

// model is the simplest description of a journal's behaviour.
type model struct {
	entries []journal.Entry
	marks   map[string]map[string]string
	owners  map[string]bool // whether it is live
	locks   map[string]string
}

func (m *model) entry(match func(*journal.Entry) bool) *journal.Entry {
	i := slices.IndexFunc(m.entries, func(e journal.Entry) bool { return match(&e) })
	if i < 0 {
		return nil
	}
	return &m.entries[i]
}

func (m *model) byID(id string) *journal.Entry {
	return m.entry(func(e *journal.Entry) bool { return e.ID == id })
}

// begin returns the entry that exists, the entry of a *BusyError, or neither.
func (m *model) begin(e journal.Entry) (there, busy *journal.Entry) {
	if there = m.entry(func(o *journal.Entry) bool { return e.Key != "" && o.Key == e.Key }); there == nil {
		there = m.byID(e.ID)
	}
	if there != nil {
		return there, nil
	}
	return nil, m.entry(func(o *journal.Entry) bool {
		return e.Subject != "" && o.Subject == e.Subject && o.State != journal.Ended && (o.Exclusive || e.Exclusive)
	})
}

// claimed returns the entry on which a claim is valid.
func (m *model) claimed(id string, c journal.Claim) *journal.Entry {
	return m.entry(func(e *journal.Entry) bool { return e.ID == id && e.Claim == c && e.State != journal.Ended })
}

func (m *model) list(f journal.Filter) []string {
	sorted := slices.Clone(m.entries)
	slices.SortFunc(sorted, func(a, b journal.Entry) int {
		return -cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	ids := []string{}
	for _, e := range sorted {
		if e.ID == f.Marker {
			ids = ids[:0]
			continue
		}
		if (f.Owner == "" || e.Owner == f.Owner) && (!f.Unfinished || e.State != journal.Ended) &&
			(!f.Cancelling || e.CancelledBy != "") && (f.Kind == "" || e.Kind == f.Kind) {
			ids = append(ids, e.ID)
		}
	}
	if f.Limit > 0 && len(ids) > f.Limit {
		ids = ids[:f.Limit]
	}
	return ids
}

func testModel(t *testing.T, f Factory) {
	j := f.Open(t)
	rapid.Check(t, func(r *rapid.T) {
		clear(r, t, j)
		p := &play{T: r, t: t, j: j, model: model{marks: map[string]map[string]string{}, owners: map[string]bool{}, locks: map[string]string{}}}
		actions := []func(){p.begin, p.begin, p.start, p.write, p.write, p.end, p.cancel, p.announce, p.retire, p.adopt, p.adopt, p.lock, p.unlock, p.prune, p.list}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(actions)-1), 1, 40).Draw(r, "actions") {
			actions[n]()
		}
		p.compare()
	})
}

// clear empties a journal through its public methods.
func clear(r *rapid.T, t *testing.T, j journal.Journal) {
	entries, err := j.List(t.Context(), journal.Filter{Unfinished: true})
	if err != nil {
		r.Fatal(err)
	}
	for _, e := range entries {
		err = errors.Join(err, j.End(t.Context(), e.ID, e.Claim, journal.Failed, "", nil))
	}
	for _, o := range names {
		err = errors.Join(err, j.Retire(t.Context(), o))
		for _, l := range names {
			err = errors.Join(err, j.Unlock(t.Context(), l, o))
		}
	}
	if _, pruneErr := j.Prune(t.Context(), time.Now().Add(time.Hour)); errors.Join(err, pruneErr) != nil {
		r.Fatal(err, pruneErr)
	}
}

// play applies the same steps to a journal and to its model.
type play struct {
	*rapid.T
	t *testing.T
	j journal.Journal
	model
}

// names are few, so that steps refer to the same names.
var names = []string{"a", "b", "c"}

func (p *play) name(what string) string { return rapid.SampledFrom(names).Draw(p.T, what) }

// target returns an entry, mostly an existing one, with a claim, mostly a valid one.
func (p *play) target() (string, journal.Claim) {
	id := p.name("id")
	c := journal.Claim{Owner: p.name("owner"), Generation: rapid.Int64Range(1, 3).Draw(p.T, "generation")}
	if e := p.byID(id); e != nil && rapid.IntRange(0, 3).Draw(p.T, "right claim") > 0 {
		c = e.Claim
	}
	return id, c
}

func (p *play) expect(err, want error, call string, about ...any) {
	p.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		p.Fatalf("%s%v: error %v, want %v", call, about, err, want)
	}
}

func (p *play) begin() {
	e := journal.Entry{
		ID: p.name("id"), Key: rapid.SampledFrom([]string{"", "a", "b"}).Draw(p.T, "key"), Kind: p.name("kind"),
		Subject: rapid.SampledFrom([]string{"", "a", "b"}).Draw(p.T, "subject"), Exclusive: rapid.Bool().Draw(p.T, "exclusive"),
		Claim: journal.Claim{Owner: p.name("owner")}, Input: []byte(p.name("input")),
	}
	there, busy := p.model.begin(e)
	got, fresh, err := p.j.Begin(p.t.Context(), e)
	if busy != nil {
		var b *journal.BusyError
		if !errors.As(err, &b) { // which of several it names is tested elsewhere
			p.Fatalf("begin %+v: error %v, but %s is there", e, err, busy.ID)
		}
		return
	}
	p.expect(err, nil, "begin", e.ID)
	if fresh != (there == nil) {
		p.Fatalf("begin %+v: fresh is %v", e, fresh)
	}
	if there == nil {
		e.Generation, e.State, e.CreatedAt = 1, journal.Queued, got.CreatedAt
		p.entries, p.marks[e.ID] = append(p.entries, e), map[string]string{}
		there = &e
	}
	p.same(*there, got)
}

// same compares entries without the values of their times.
func (p *play) same(want, got journal.Entry) {
	p.Helper()
	if want.StartedAt.IsZero() == got.StartedAt.IsZero() && want.EndedAt.IsZero() == got.EndedAt.IsZero() {
		want.StartedAt, want.EndedAt = got.StartedAt, got.EndedAt
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		p.Fatalf("entry (-want +got):\n%s", diff)
	}
}

func (p *play) start() {
	id, c := p.target()
	e, want := p.claimed(id, c), error(nil)
	switch {
	case e == nil:
		want = journal.ErrClaim
	case e.State == journal.Queued:
		e.State, e.StartedAt = journal.Running, time.Now()
	}
	p.expect(p.j.Start(p.t.Context(), id, c), want, "start", id, c)
}

func (p *play) write() {
	id, c := p.target()
	var marks []journal.Mark
	for range rapid.IntRange(0, 4).Draw(p.T, "marks") {
		m := journal.Mark{Key: rapid.SampledFrom([]string{"", "a", "a/b", "a/\xff", "b"}).Draw(p.T, "key")}
		if rapid.Bool().Draw(p.T, "set") {
			m.Value = []byte(p.name("value"))
		}
		marks = append(marks, m)
	}
	want := error(journal.ErrClaim)
	if p.claimed(id, c) != nil {
		want = nil
		for _, m := range marks {
			if p.marks[id][m.Key] = string(m.Value); m.Value == nil {
				delete(p.marks[id], m.Key)
			}
		}
	}
	p.expect(p.j.Write(p.t.Context(), id, c, marks...), want, "write", id, c)
}

func (p *play) end() {
	id, c := p.target()
	o := rapid.SampledFrom([]journal.Outcome{journal.Succeeded, journal.Failed}).Draw(p.T, "outcome")
	reason, want := p.name("reason"), error(journal.ErrClaim)
	left := []byte(p.name("left"))
	if e := p.claimed(id, c); e != nil {
		e.State, e.Outcome, e.Reason, e.EndedAt, e.Input, want = journal.Ended, o, reason, time.Now(), left, nil
	} else if e := p.byID(id); e != nil && e.State == journal.Ended && e.Claim == c && e.Outcome == o && e.Reason == reason {
		want = nil
	}
	p.expect(p.j.End(p.t.Context(), id, c, o, reason, left), want, "end", id, c)
}

func (p *play) cancel() {
	id, by := p.name("id"), p.name("by")
	e, want := p.byID(id), error(nil)
	switch {
	case e == nil:
		want = journal.ErrNotFound
	case e.State == journal.Ended:
		want = journal.ErrEnded
	case e.CancelledBy == "":
		e.CancelledBy = by
	}
	p.expect(p.j.Cancel(p.t.Context(), id, by), want, "cancel", id)
}

func (p *play) announce() {
	owner, hold := p.name("owner"), rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(p.T, "hold")
	p.owners[owner] = hold > 0
	p.expect(p.j.Announce(p.t.Context(), journal.Owner{ID: owner}, hold), nil, "announce", owner)
}

func (p *play) retire() {
	owner := p.name("owner")
	if _, known := p.owners[owner]; known {
		p.owners[owner] = false
	}
	p.expect(p.j.Retire(p.t.Context(), owner), nil, "retire", owner)
}

func (p *play) adopt() {
	id, from := p.target()
	owner, want := p.name("adopter"), error(nil)
	e, next := p.claimed(id, from), journal.Claim{}
	switch {
	case e == nil:
		want = journal.ErrClaim
	case from.Owner != owner && p.owners[from.Owner]:
		want = journal.ErrOwnerLives
	default:
		next = journal.Claim{Owner: owner, Generation: from.Generation + 1}
		e.Claim = next
	}
	got, err := p.j.Adopt(p.t.Context(), id, from, owner)
	p.expect(err, want, "adopt", id, from, owner)
	if got != next {
		p.Fatalf("adopt %s: claim %v, want %v", id, got, next)
	}
}

func (p *play) lock() {
	name, owner := p.name("lock"), p.name("owner")
	want := p.locks[name] == "" || p.locks[name] == owner
	if want {
		p.locks[name] = owner
	}
	if has, err := p.j.Lock(p.t.Context(), name, owner, time.Hour); err != nil || has != want {
		p.Fatalf("locking %s for %s: %v, %v", name, owner, has, err)
	}
}

func (p *play) unlock() {
	name, owner := p.name("lock"), p.name("owner")
	if p.locks[name] == owner {
		delete(p.locks, name)
	}
	p.expect(p.j.Unlock(p.t.Context(), name, owner), nil, "unlock", name)
}

func (p *play) prune() {
	before := len(p.entries)
	p.entries = slices.DeleteFunc(p.entries, func(e journal.Entry) bool {
		if e.State == journal.Ended {
			delete(p.marks, e.ID)
		}
		return e.State == journal.Ended
	})
	for owner, live := range p.owners {
		if !live && len(p.model.list(journal.Filter{Owner: owner})) == 0 {
			delete(p.owners, owner)
		}
	}
	if n, err := p.j.Prune(p.t.Context(), time.Now().Add(time.Hour)); err != nil || n != before-len(p.entries) {
		p.Fatalf("prune: %d, %v; want %d", n, err, before-len(p.entries))
	}
}

func (p *play) list() {
	f := journal.Filter{
		Owner: rapid.SampledFrom([]string{"", "a"}).Draw(p.T, "owner"), Kind: rapid.SampledFrom([]string{"", "a"}).Draw(p.T, "kind"),
		Unfinished: rapid.Bool().Draw(p.T, "unfinished"), Cancelling: rapid.Bool().Draw(p.T, "cancelling"),
		Limit: rapid.IntRange(0, 2).Draw(p.T, "limit"),
	}
	if marker := p.name("marker"); p.byID(marker) != nil && rapid.Bool().Draw(p.T, "page") {
		f.Marker = marker
	}
	p.checkList(f)
}

func (p *play) checkList(f journal.Filter) {
	p.Helper()
	entries, err := p.j.List(p.t.Context(), f)
	p.expect(err, nil, "list")
	ids := []string{}
	for _, e := range entries {
		want := *p.byID(e.ID)
		want.Input = nil
		p.same(want, e)
		ids = append(ids, e.ID)
	}
	if diff := gocmp.Diff(p.model.list(f), ids); diff != "" {
		p.Fatalf("list %+v (-want +got):\n%s", f, diff)
	}
}

// compare compares the whole journal with the model.
func (p *play) compare() {
	p.checkList(journal.Filter{})
	for _, id := range names {
		got, err := p.j.Get(p.t.Context(), id)
		if want := p.byID(id); want == nil {
			p.expect(err, journal.ErrNotFound, "get", id)
		} else {
			p.expect(err, nil, "get", id)
			p.same(*want, *got)
		}
		for _, prefix := range []string{"", "a", "a/"} {
			p.compareMarks(id, prefix)
		}
	}
	owners, err := p.j.Owners(p.t.Context())
	p.expect(err, nil, "owners")
	live := map[string]bool{}
	for _, o := range owners {
		live[o.ID] = o.Live
	}
	if diff := gocmp.Diff(p.owners, live); diff != "" {
		p.Fatalf("owners (-want +got):\n%s", diff)
	}
}

func (p *play) compareMarks(id, prefix string) {
	var want, got []string
	for key, value := range p.marks[id] {
		if strings.HasPrefix(key, prefix) {
			want = append(want, fmt.Sprintf("%s=%s", key, value))
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return strings.Compare(a[:strings.LastIndex(a, "=")], b[:strings.LastIndex(b, "=")])
	})
	marks, err := p.j.Marks(p.t.Context(), id, prefix)
	p.expect(err, nil, "marks", id)
	for _, m := range marks {
		got = append(got, fmt.Sprintf("%s=%s", m.Key, m.Value))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		p.Fatalf("marks of %s (-want +got):\n%s", id, diff)
	}
}
