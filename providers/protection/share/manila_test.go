// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection/remote/remotetest"
)

// newManila starts a Manila with a share of 2 GiB.
// manila: api/v2/shares.py, api/v1/share_snapshots.py, share/api.py
func newManila(t testing.TB) *manila {
	f := &manila{Fake: remotetest.New(t,
		remotetest.Kind{
			Path: openstacktest.Manila + "/shares", Listing: "/detail", Name: "shares", Member: "share", Filters: []string{"snapshot_id"},
			Code: http.StatusOK, Making: "creating_from_snapshot", Whole: "available", Failed: "error", Going: "deleting",
			Deletable: []string{"available", "error", "inactive"}, Undeletable: http.StatusForbidden,
			Create: createShare,
		},
		remotetest.Kind{
			Path: openstacktest.Manila + "/snapshots", Listing: "/detail", Name: "snapshots", Member: "snapshot", Filters: []string{"share_id"},
			Code: http.StatusAccepted, Making: "creating", Whole: "available", Failed: "error", Going: "deleting",
			Deletable: []string{"available", "error"}, Undeletable: http.StatusForbidden,
			Create: createSnapshot,
		})}
	f.Add("shares", &remotetest.Thing{ID: home.ID, Status: "available", Data: "data", Fields: map[string]any{
		"name": "home", "size": 2, "share_proto": "NFS", "share_type": "default", "share_network_id": nil, "snapshot_id": nil, "metadata": map[string]any{},
	}})
	f.Handle("POST "+openstacktest.Manila+"/shares/{id}/action", f.act)
	return f
}

// manila has access rules besides, by share.
// manila: api/v1/shares.py _allow_access, share/api.py allow_access
type manila struct {
	*remotetest.Fake
	rules sync.Map // of []rule
}

func (m *manila) rulesOf(id string) []rule {
	rules, _ := m.rules.Load(id)
	there, _ := rules.([]rule)
	return there
}

func (m *manila) act(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Allow *rule `json:"allow_access"`
	}
	id := r.PathValue("id")
	there := m.rulesOf(id)
	err := json.NewDecoder(r.Body).Decode(&body)
	switch {
	case err != nil || r.Header.Get("X-OpenStack-Manila-API-Version") != "2.7":
		http.Error(w, "no such action", http.StatusNotFound)
		return
	case body.Allow != nil && body.Allow.Type == "user":
		http.Error(w, `{"badRequest": {"code": 400, "message": "Only ip access type is supported."}}`, http.StatusBadRequest)
		return
	case body.Allow != nil && slices.ContainsFunc(there, body.Allow.same):
		http.Error(w, `{"badRequest": {"code": 400, "message": "Share access exists."}}`, http.StatusBadRequest)
		return
	case body.Allow != nil:
		m.rules.Store(id, append(slices.Clone(there), *body.Allow))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_list": there})
}

// Inventory tells of the rules, too.
func (m *manila) Inventory(ctx context.Context) ([]string, error) {
	all, err := m.Fake.Inventory(ctx)
	for _, s := range m.Things("shares") {
		for _, r := range m.rulesOf(s.ID) {
			all = append(all, s.Field("name")+" "+r.String())
		}
	}
	return all, err
}

func createShare(f *remotetest.Fake, t *remotetest.Thing) *remotetest.Refusal {
	snapshot := f.Find("snapshots", t.Field("snapshot_id"))
	switch {
	case snapshot == nil:
		return &remotetest.Refusal{Code: http.StatusNotFound, Message: "Snapshot could not be found."}
	case snapshot.Status != "available":
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "status must be 'available'"}
	case t.Fields["size"].(float64) < 2 || t.Field("share_proto") != "NFS" || t.Field("share_type") != "default":
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "the share does not fit the snapshot"}
	}
	if t.Fields["is_public"] == true {
		return &remotetest.Refusal{Code: http.StatusForbidden, Message: "Policy doesn't allow share:create_public_share to be performed."}
	}
	t.Data = snapshot.Data
	return nil
}

func createSnapshot(f *remotetest.Fake, t *remotetest.Thing) *remotetest.Refusal {
	share := f.Find("shares", t.Field("share_id"))
	if share == nil {
		return &remotetest.Refusal{Code: http.StatusNotFound, Message: "Share could not be found."}
	}
	if share.Status != "available" { // whatever "force" says
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "Invalid share: Source share status must be available."}
	}
	if len(t.Field("description")) > 255 {
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "description is too long"}
	}
	t.Data = share.Data
	return nil
}
