// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
)

// fakeFreezer is a Freezer with a scheduler that does what jobs say at the second
// look at them, written from the API's reference and code.
// freezer-api: api-ref/source/v2, api/v1/jobs.py, common/json_schemas.py
type fakeFreezer struct {
	*storage.Cloud
	mu      sync.Mutex
	jobs    []*fakeJob
	actions map[string]bool
	backups map[string]int // by container and volume: how many
	fails   bool           // the next job
	stuck   bool           // jobs end only when they are aborted
	clients []string
	// restoring is called when a volume is restored.
	restoring func()
}

type fakeJob struct {
	doc   map[string]any
	looks int
}

func (j *fakeJob) schedule() map[string]any { return j.doc["job_schedule"].(map[string]any) }

// newFreezer has version 2 of the API, or the one before.
func newFreezer(t testing.TB, two bool) *fakeFreezer {
	t.Helper()
	f := &fakeFreezer{Cloud: storage.New(t), actions: map[string]bool{}, backups: map[string]int{}, clients: []string{"node_1"}}
	base, slash := "/freezer/"+openstacktest.Project+"/v1/", "/{$}"
	if two {
		base, slash = "/freezer/v2/"+openstacktest.Project+"/", ""
		f.Answer("GET /freezer/{$}", http.StatusMultipleChoices, `{"versions": [{"id": "v2", "status": "CURRENT", "links": []}]}`)
	}
	f.handle("GET "+base+"clients"+slash, f.listClients)
	f.handle("GET "+base+"jobs"+slash, f.listJobs)
	f.handle("POST "+base+"jobs"+slash, f.createJob)
	f.handle("GET "+base+"jobs/{id}", f.showJob)
	f.handle("DELETE "+base+"jobs/{id}", f.removeJob)
	f.handle("POST "+base+"jobs/{id}/event", f.event)
	f.handle("DELETE "+base+"actions/{id}", f.removeAction)
	return f
}

func (f *fakeFreezer) handle(pattern string, h http.HandlerFunc) {
	f.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Header.Get("X-Service-Token") != "" {
			http.Error(w, "Freezer takes no service token", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		h(w, r)
	})
}

// Inventory implements plugintest.Service.
func (f *fakeFreezer) Inventory(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var there []string
	for range f.jobs {
		there = append(there, "job")
	}
	for _, v := range f.Things(storage.Volumes) {
		there = append(there, "volume "+v.Name)
	}
	for range f.actions {
		there = append(there, "action")
	}
	for key, n := range f.backups {
		_, volumeID, _ := strings.Cut(key, " ") // the container has the checkpoint's id
		there = append(there, fmt.Sprintf("%d backups of %s", n, volumeID))
	}
	return there, nil
}

func (f *fakeFreezer) find(id string) *fakeJob {
	for _, j := range f.jobs {
		if j.doc["job_id"] == id {
			return j
		}
	}
	return nil
}

func (f *fakeFreezer) listClients(w http.ResponseWriter, _ *http.Request) {
	list := []any{}
	for _, id := range f.clients {
		list = append(list, map[string]any{"client": map[string]any{"client_id": id}})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"clients": list})
}

func (f *fakeFreezer) listJobs(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	page := []any{}
	for _, j := range f.jobs[min(offset, len(f.jobs)):min(offset+limit, len(f.jobs))] {
		f.look(j)
		page = append(page, j.doc)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"jobs": page})
}

func (f *fakeFreezer) createJob(w http.ResponseWriter, r *http.Request) {
	var doc map[string]any
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil || len(doc["description"].(string)) > 255 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for key := range doc {
		if !strings.Contains(" description job_actions client_id ", " "+key+" ") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"title": "Bad Data Format", "message": "Additional properties are not allowed"}`)
			return
		}
	}
	for _, a := range doc["job_actions"].([]any) {
		id := uuid.NewString()
		a.(map[string]any)["action_id"] = id
		f.actions[id] = true
	}
	doc["job_id"] = uuid.NewString()
	doc["job_schedule"] = map[string]any{"time_created": 1, "time_started": -1, "time_ended": -1}
	f.jobs = append(f.jobs, &fakeJob{doc: doc})
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"job_id": doc["job_id"]})
}

func (f *fakeFreezer) wanted(w http.ResponseWriter, r *http.Request) *fakeJob {
	j := f.find(r.PathValue("id"))
	if j == nil {
		w.WriteHeader(http.StatusNotFound)
	}
	return j
}

func (f *fakeFreezer) showJob(w http.ResponseWriter, r *http.Request) {
	if j := f.wanted(w, r); j != nil {
		f.look(j)
		_ = json.NewEncoder(w).Encode(j.doc)
	}
}

func (f *fakeFreezer) removeJob(w http.ResponseWriter, r *http.Request) {
	if j := f.wanted(w, r); j != nil {
		for i := range f.jobs {
			if f.jobs[i] == j {
				f.jobs = append(f.jobs[:i:i], f.jobs[i+1:]...)
				break
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (f *fakeFreezer) removeAction(w http.ResponseWriter, r *http.Request) {
	delete(f.actions, r.PathValue("id"))
	w.WriteHeader(http.StatusNoContent)
}

func (f *fakeFreezer) event(w http.ResponseWriter, r *http.Request) {
	j := f.wanted(w, r)
	var events map[string]any
	if j == nil || json.NewDecoder(r.Body).Decode(&events) != nil {
		return
	}
	for event := range events {
		if event == "start" {
			j.schedule()["status"], j.schedule()["result"] = "", ""
		}
		j.schedule()["event"] = event
		j.looks = 0
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"result": "success"}`)
}

// look lets the scheduler go on with a job.
func (f *fakeFreezer) look(j *fakeJob) {
	schedule := j.schedule()
	event, _ := schedule["event"].(string)
	if event == "" || f.stuck && event == "start" {
		return
	}
	if event == "abort" {
		schedule["event"], schedule["status"], schedule["result"] = "", "completed", "aborted"
		return
	}
	if j.looks++; j.looks < 2 {
		schedule["status"] = "running"
		return
	}
	schedule["event"], schedule["status"], schedule["time_started"] = "", "completed", 2
	switch {
	case f.fails:
		f.fails, schedule["result"] = false, "fail"
		return
	}
	schedule["result"] = "success"
	for _, a := range j.doc["job_actions"].([]any) {
		action := a.(map[string]any)["freezer_action"].(map[string]any)
		key := fmt.Sprintf("%v %v", action["container"], action["cinder_vol_id"])
		switch action["action"] {
		case "backup":
			f.backups[key]++
		case "admin":
			delete(f.backups, key)
		case "restore":
			if f.backups[key] == 0 {
				schedule["result"] = "fail"
				continue
			}
			if f.restoring != nil {
				f.restoring()
			}
			// freezer: openstack/restore.py restore_cinder_by_glance
			f.AddVolume(uuid.NewString(), fmt.Sprintf("%v~1700000000", action["backup_name"]), nil).ImageName =
				fmt.Sprintf("freezer_restore_%v_segments/%v/1700000000", action["container"], action["cinder_vol_id"])
		}
	}
}
