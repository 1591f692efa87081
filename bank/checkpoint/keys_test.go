// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
)

// anID draws an id: a plain one, one that runs into the keys of others, or any text.
func anID(r *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"a", "b", "a", "b"}),
		rapid.SampledFrom([]string{
			"", "/", "//", "a/", "/a", "//a", "a/b", "b/a", "a//b", ".", "..", "a/..", "../b", "a/./b", "a..b", "a@b", "1@a",
			"2026-11-22", "a/2026-11-22", "index.json", "a\x00", "a\nb", "\x1b[2J", "\u202ea", "é", "a b", " ", "#incoming", "%2f", `a\b`,
			strings.Repeat("a", 255), strings.Repeat("a", 256),
		}),
		rapid.StringMatching(`[ab/.@-]{0,5}`),
		rapid.String(),
	).Draw(r, label)
}

// part tells whether an id can be one part of a key, read from the rules of keys alone.
func part(id string) bool {
	if id == "" || id == "." || id == ".." || len(id) > 255 {
		return false
	}
	for _, c := range []byte(id) {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@", rune(c)) {
			return false
		}
	}
	return true
}

// Ids become parts of keys. One that is no such part is refused before anything is
// written. In a bank that has such ids all the same, since another program wrote it, a
// listing has what is of its project, plan and provider to the letter, and nothing else:
// whatever keys the entries have.
func TestHostileIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(checkpoint.Options{})
		type made struct{ id, plan, project, provider string }
		var all []made
		for i := range rapid.IntRange(1, 6).Draw(r, "checkpoints") {
			m := made{fmt.Sprintf("cp-%d", i), anID(r, "plan"), anID(r, "project"), rapid.SampledFrom([]string{provider, "other"}).Draw(r, "provider")}
			if id := anID(r, "checkpoint"); id != "" && !part(id) && rapid.IntRange(0, 4).Draw(r, "hostile checkpoint") == 0 {
				m.id = id
			}
			if rapid.IntRange(0, 9).Draw(r, "hostile provider") == 0 {
				m.provider = anID(r, "provider")
			}
			before := len(w.memory.Objects())
			_, err := w.Create(r.Context(), checkpoint.CreateOptions{
				ID: m.id, Plan: checkpoint.Plan{ID: m.plan, ProjectID: m.project, ProviderID: m.provider}, Status: checkpoint.Available,
			})
			good := part(m.plan) && part(m.project) && part(m.provider) && part(m.id)
			switch {
			case good != (err == nil):
				r.Fatalf("creating %+q: %v", m, err)
			case good:
				all = append(all, m)
			case !fault.Is(err, "InvalidInput"):
				r.Fatalf("creating %+q: %v is no InvalidInput", m, err)
			case len(w.memory.Objects()) != before:
				r.Fatalf("creating %+q failed and wrote something", m)
			case part(m.id):
				plant(w.memory, m.id, m.plan, m.project, m.provider)
				all = append(all, m)
			}
		}
		for range 6 {
			o := checkpoint.ListOptions{ProjectID: anID(r, "of project"), AllTenants: rapid.Bool().Draw(r, "all")}
			if rapid.Bool().Draw(r, "by plan") {
				o.PlanID = anID(r, "of plan")
			}
			found, err := w.List(r.Context(), o)
			if err != nil {
				r.Fatal(err)
			}
			listed := map[string]int{}
			for _, cp := range found {
				listed[cp.ID()]++
				if !o.AllTenants && cp.ProjectID() != o.ProjectID || o.PlanID != "" && cp.Plan().ID != o.PlanID || cp.ProviderID() != provider {
					r.Fatalf("%+v lists checkpoint %s of project %q, plan %q and provider %q", o, cp.ID(), cp.ProjectID(), cp.Plan().ID, cp.ProviderID())
				}
			}
			want := map[string]int{}
			for _, m := range all {
				if part(m.project) && (o.AllTenants || m.project == o.ProjectID) &&
					(o.PlanID == "" || part(m.plan) && m.plan == o.PlanID) && m.provider == provider {
					want[m.id] = 1
				}
			}
			if diff := gocmp.Diff(want, listed); diff != "" {
				r.Fatalf("%+v: %s", o, diff)
			}
		}
	})
}

// plant writes a checkpoint as the original does, which takes any id and drops the
// empty parts of a key.
func plant(m *banktest.Memory, id, plan, project, provider string) {
	text, err := json.Marshal(map[string]any{
		"version": "0.9", "id": id, "status": "available", "owner_id": "o", "provider_id": provider, "project_id": project,
		"protection_plan": map[string]any{"id": plan, "name": "", "provider_id": provider, "resources": []any{}},
		"extra_info":      nil, "created_at": "2026-11-22", "timestamp": 1795388400,
	})
	if err != nil {
		panic(err)
	}
	m.Set("/checkpoints/"+id+"/index.json", banktest.Stored{Body: text, Serialized: bank.JSON})
	for _, key := range []string{
		fmt.Sprintf("by-provider/%s/%s/1795388400@%s", provider, project, id),
		fmt.Sprintf("by-date/2026-11-22/%s/1795388400@%s", project, id),
		fmt.Sprintf("by-plan/%s/%s/2026-11-22/1795388400@%s", plan, project, id),
	} {
		collapsed := ""
		for p := range strings.SplitSeq(key, "/") {
			if p != "" {
				collapsed += "/" + p
			}
		}
		m.Set("/indices"+collapsed, banktest.Stored{Body: []byte(id), Serialized: bank.JSON})
	}
}
