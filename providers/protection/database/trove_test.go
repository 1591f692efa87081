// SPDX-License-Identifier: Apache-2.0

package database

import (
	"net/http"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection/remote/remotetest"
)

// flavor is that of the instance, as Trove shows it.
const flavor = `{"id": "6", "links": [{"href": "https://trove/v1.0/p/flavors/6", "rel": "self"}]}`

// newTrove starts a Trove with an instance of 5 GiB. It is written from the API
// reference, since Debian has no Trove.
// trove: api-ref/source/instances.inc, backups.inc, backup/models.py, instance/models.py
func newTrove(t testing.TB) *remotetest.Fake {
	f := remotetest.New(t,
		remotetest.Kind{
			Path: openstacktest.Trove + "/instances", Name: "instances", Member: "instance", PageSize: 2,
			Code: http.StatusOK, Making: "BUILD", Whole: "ACTIVE", Failed: "ERROR", Going: "SHUTDOWN",
			Deletable: []string{"ACTIVE", "ERROR", "BLOCKED", "SHUTDOWN"}, Undeletable: http.StatusUnprocessableEntity,
			Create: createInstance, ChangeMethod: http.MethodPatch, Change: func(*remotetest.Fake, *remotetest.Thing) *remotetest.Refusal { return nil },
		},
		remotetest.Kind{
			Path: openstacktest.Trove + "/backups", Name: "backups", Member: "backup", Filters: []string{"instance_id"}, PageSize: 2,
			Code: http.StatusAccepted, Making: "NEW", Whole: "COMPLETED", Failed: "FAILED",
			Deletable: []string{"COMPLETED", "FAILED", "DELETE_FAILED"}, Undeletable: http.StatusUnprocessableEntity,
			Create: createBackup,
		})
	f.Add("instances", &remotetest.Thing{ID: shop.ID, Status: "ACTIVE", Data: "rows", Fields: map[string]any{
		"name": "shop", "operating_status": "HEALTHY", "datastore": map[string]any{"type": "mysql", "version": "5.7"},
		"flavor": map[string]any{"id": "6", "links": []any{map[string]any{"href": "https://trove/v1.0/p/flavors/6", "rel": "self"}}},
		"volume": map[string]any{"size": 5, "used": 0.12},
	}})
	return f
}

func createInstance(f *remotetest.Fake, t *remotetest.Thing) *remotetest.Refusal {
	point, _ := t.Fields["restorePoint"].(map[string]any)
	id, _ := point["backupRef"].(string)
	backup := f.Find("backups", id)
	size, _ := t.Fields["volume"].(map[string]any)
	datastore, _ := t.Fields["datastore"].(map[string]any)
	switch {
	case backup == nil:
		return &remotetest.Refusal{Code: http.StatusNotFound, Message: "Resource " + id + " cannot be found."}
	case backup.Status != "COMPLETED":
		return &remotetest.Refusal{Code: http.StatusUnprocessableEntity, Message: "Unable to create instance because backup is not completed."}
	case t.Fields["flavorRef"] != "6" && t.Fields["flavorRef"] != "7" || size["size"] != 5.0 || t.Field("name") == "":
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "Validation error"}
	case datastore["type"] != "mysql" || datastore["version"] != "5.7":
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "Datastore from backup is other than that of the instance."}
	}
	t.Data = backup.Data
	return nil
}

func createBackup(f *remotetest.Fake, t *remotetest.Thing) *remotetest.Refusal {
	instance := f.Find("instances", t.Field("instance"))
	switch n := len(t.Field("description")); {
	case instance == nil:
		return &remotetest.Refusal{Code: http.StatusNotFound, Message: "Resource cannot be found."}
	case instance.Status != "ACTIVE":
		return &remotetest.Refusal{Code: http.StatusUnprocessableEntity, Message: "Instance is not ready."}
	case n == 0 || n > 255 || t.Field("name") == "":
		return &remotetest.Refusal{Code: http.StatusBadRequest, Message: "Validation error"}
	}
	t.Fields["instance_id"] = t.Field("instance")
	t.Data = instance.Data
	return nil
}
