// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
)

// manyVolumes is a cloud with many resources, each of which has them as dependents.
type manyVolumes struct {
	anyVolume
	found []resource.Resource
}

func (v manyVolumes) List(context.Context, protectable.Parameters) ([]resource.Resource, error) {
	return v.found, nil
}
func (v manyVolumes) Dependents(context.Context, resource.Resource) ([]resource.Resource, error) {
	return v.found, nil
}
func (manyVolumes) ParentTypes() []string { return []string{resource.Volume} }

// countedReads is a bank that counts what is read of it.
type countedReads struct {
	bank.Plugin
	reads *atomic.Int64
}

func (c countedReads) Get(ctx context.Context, key string) (*bank.Object, error) {
	if strings.HasSuffix(key, "index.json") {
		c.reads.Add(1)
	}
	return c.Plugin.Get(ctx, key)
}

const (
	many     = 300
	quoted   = `"\"\\` // JSON of it is longer, and JSON of that longer again
	manySize = 400     // at least, of an entry as it is sent
)

// crowd is a manager of which every listing has many entries.
func crowd(t *testing.T, bounds Answers) (m *Manager, reads *atomic.Int64) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	reads = &atomic.Int64{}
	b := bank.New(countedReads{banktest.NewMemory(), reads}, nil)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := []*providers.Provider{}
	text := strings.Repeat(quoted, 20)
	for i := range many {
		p, err := providers.New(providers.Definition{ID: fmt.Sprintf("provider-%03d", i), Name: text, Plugins: []protection.Plugin{noop.New()}, Bank: b})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		all = append(all, p)
	}
	made := checkpoint.NewCollection(b, all[0].ID, checkpoint.Options{Clock: func() time.Time { return now }})
	kept := journaltest.NewMemory(func() time.Time { return now })
	var volumes []resource.Resource
	for i := range many {
		now = now.Add(time.Second)
		id := fmt.Sprintf("c-%03d", i)
		plan := checkpoint.Plan{ID: "p", Name: text, ProviderID: all[0].ID, ProjectID: "mine"}
		if _, err := made.Create(t.Context(), checkpoint.CreateOptions{ID: id, Plan: plan, Status: checkpoint.Available}); err != nil {
			t.Fatal(err)
		}
		e, _, err := kept.Begin(t.Context(), journal.Entry{ID: id, Kind: "protect", ProjectID: "mine", ProviderID: all[0].ID, Claim: journal.Claim{Owner: "w"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := kept.End(t.Context(), id, e.Claim, journal.Failed, text, nil); err != nil {
			t.Fatal(err)
		}
		volumes = append(volumes, resource.Resource{Type: resource.Volume, ID: id, Name: text})
	}
	engine := operation.New(operation.Config{Journal: kept, Records: noRecords{}, Log: log})
	t.Cleanup(func() { engine.Stop(context.Background()) })
	return New(Config{Providers: providers.NewRegistry(all...), Operations: engine, Log: log, Answers: bounds,
		Protectables: protectable.NewRegistry(protectable.Options{Log: log}, manyVolumes{found: volumes})}), reads
}

func answerText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestAnswersHaveBytes: what takes more bytes than an answer may have is refused, and
// where there are limits can be had in parts, each of which fits.
func TestAnswersHaveBytes(t *testing.T) {
	t.Parallel()
	const most = 50 * manySize
	m, reads := crowd(t, Answers{Bytes: most, Total: most})
	ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "mine"})
	for name, c := range map[string]struct {
		call  method
		args  string
		pages bool
	}{
		"list_providers":              {m.listProviders, `{`, true},
		"list_checkpoints":            {m.listCheckpoints, `{"provider_id": "provider-000"`, true},
		"list_checkpoints of a plan":  {m.listCheckpoints, `{"provider_id": "provider-000", "filters": {"plan_id": "p", "start_date": "2026-01-01"}`, true},
		"list_operations":             {m.listOperations, `{`, true},
		"list_protectable_instances":  {m.listProtectableInstances, `{"protectable_type": "OS::Cinder::Volume"`, false},
		"list_protectable_dependents": {m.listProtectableDependents, `{"protectable_type": "OS::Cinder::Volume", "protectable_id": "v"`, false},
	} {
		more := func(text string) string { return strings.Replace(c.args+", "+text+"}", "{, ", "{", 1) }
		before := reads.Load()
		_, err := c.call(ctx, argumentsOf(t, c.args+"}"))
		if !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), "max_answer_bytes") {
			t.Errorf("%s: %v", name, err)
		}
		if read := reads.Load() - before; read > many/2 {
			t.Errorf("%s: %d checkpoints were read to be refused", name, read)
		}
		if !c.pages {
			continue
		}
		seen := map[string]bool{}
		for marker := ""; ; {
			text := `"limit": 5`
			if marker != "" {
				text += `, "marker": "` + marker + `"`
			}
			answer, err := c.call(ctx, argumentsOf(t, more(text)))
			if err != nil {
				t.Fatal(name, err)
			}
			page := decoded[struct{ ID string }](t, answer)
			if size := len(answerText(string(answer.(rpc.Encoded)))); size > most {
				t.Errorf("%s: a page of %d bytes", name, size)
			}
			if len(page) == 0 {
				break
			}
			for _, entry := range page {
				if seen[entry.ID] {
					t.Fatalf("%s: %s comes twice", name, entry.ID)
				}
				seen[entry.ID], marker = true, entry.ID
			}
		}
		if len(seen) != many {
			t.Errorf("%s: %d entries in pages", name, len(seen))
		}
	}
	if !m.listings.room.TryAcquire(most) {
		t.Error("listings that are over have kept room")
	}
}

// TestSentSize: what is counted is what a message has.
func TestSentSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(map[string]string{"x": rapid.String().Draw(t, "text")})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := sent(text), len(answerText(string(text)))-len(`""`)+1; got != want {
			t.Errorf("%s: %d bytes, want %d", text, got, want)
		}
	})
}

// TestListingsShareRoom: whatever listings are begun, filled and done, they never have more
// than there is, one alone has room for an answer, and in the end all is given back.
func TestListingsShareRoom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := Answers{Bytes: rapid.IntRange(1, 2000).Draw(t, "bytes"), Total: rapid.IntRange(1, 4000).Draw(t, "total")}
		all, total := newListings(a), max(a.Bytes, a.Total)
		var open []*listing
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch i := rapid.IntRange(-1, len(open)-1).Draw(t, "listing"); {
			case i < 0:
				open = append(open, all.begin())
			case rapid.IntRange(0, 9).Draw(t, "done") == 0:
				open[i].done()
				open = append(open[:i], open[i+1:]...)
			default:
				entry, others, taken := strings.Repeat("x", rapid.IntRange(0, 900).Draw(t, "size")), 0, open[i].size
				for _, l := range open {
					others += l.size
				}
				err := open[i].add(entry)
				cost := len(entry) + 5
				switch fits := taken+cost <= a.Bytes && others+cost <= total; {
				case fits != (err == nil):
					t.Fatalf("an entry of %d beside %d, with %d: %v", cost, others, taken, err)
				case err != nil && !fault.Is(err, "InvalidInput"), err == nil && open[i].size != taken+cost, err != nil && open[i].size != taken:
					t.Fatalf("size %d of %d + %d: %v", open[i].size, taken, cost, err)
				}
			}
		}
		for _, l := range open {
			l.done()
		}
		if !all.room.TryAcquire(int64(total)) {
			t.Fatal("room was lost")
		}
	})
}

// TestUnboundedAnswers: 0 is no bound.
func TestUnboundedAnswers(t *testing.T) {
	t.Parallel()
	l := newListings(Answers{}).begin()
	defer l.done()
	for range 1000 {
		if err := l.add(strings.Repeat(quoted, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.add(func() {}); err == nil || errors.As(err, new(*fault.Error)) {
		t.Errorf("what is no JSON: %v", err)
	}
	var list []string
	if err := json.Unmarshal(l.answer(), &list); err != nil || len(list) != 1000 {
		t.Error(len(list), err)
	}
}
