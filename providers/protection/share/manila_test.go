// SPDX-License-Identifier: Apache-2.0

package share

import (
	"net/http"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection/remote/remotetest"
)

// newManila starts a Manila with a share of 2 GiB.
// manila: api/v2/shares.py, api/v1/share_snapshots.py, share/api.py
func newManila(t testing.TB) *remotetest.Fake {
	f := remotetest.New(t,
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
		})
	f.Add("shares", &remotetest.Thing{ID: home.ID, Status: "available", Data: "data", Fields: map[string]any{
		"name": "home", "size": 2, "share_proto": "NFS", "share_type": "default", "share_network_id": nil, "snapshot_id": nil, "metadata": map[string]any{},
	}})
	return f
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
