// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func send(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func status(w http.ResponseWriter, code int, reason, message string) {
	send(w, code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reason, "code": code,
	})
}

func missing(w http.ResponseWriter, collection, name string) {
	status(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", collection, name))
}

// look is one look at a pod. It tells whether the pod is there.
func (c *Cluster) look(k string) bool {
	pod := c.objects[k]
	left, busy := c.looks[k]
	switch {
	case pod == nil: // one that is being made, or has ended
		return false
	case !busy:
		return true
	case left > 1:
		c.looks[k]--
		return true
	}
	c.pass(k)
	return c.objects[k] != nil
}

// pass lets a pod go its way: a new one runs, a deleted one ends.
func (c *Cluster) pass(k string) {
	delete(c.looks, k)
	pod := c.objects[k]
	if member(pod, "metadata")["deletionTimestamp"] != nil {
		delete(c.objects, k)
		return
	}
	member(pod, "spec")["nodeName"] = node
	pod["status"] = map[string]any{"phase": c.phase(pod)}
}

// phase is what becomes of a new pod: it waits as long as a volume is not there.
func (c *Cluster) phase(pod map[string]any) string {
	for _, v := range items(member(pod, "spec"), "volumes") {
		id, mounts := member(v, "cinder")["volumeID"].(string)
		if _, there := c.Data[id]; mounts && !there {
			return "Pending"
		}
	}
	return c.Phase
}

func (c *Cluster) list(w http.ResponseWriter, r *http.Request) {
	start := key("pods", r.PathValue("namespace"), "")
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit == 0 || limit > c.PageSize {
		limit = c.PageSize
	}
	last := r.URL.Query().Get("continue")
	if last != "" && !strings.HasPrefix(last, start) {
		status(w, http.StatusBadRequest, "BadRequest", "continue key is not valid: it is none of this listing")
		return
	}
	page, metadata := []any{}, map[string]any{"resourceVersion": strconv.Itoa(c.version)}
	for _, k := range slices.Sorted(maps.Keys(c.objects)) {
		if !strings.HasPrefix(k, start) || k <= last || !c.look(k) {
			continue
		}
		if len(page) == limit {
			metadata["continue"] = last
			break
		}
		page, last = append(page, c.objects[k]), k
	}
	send(w, http.StatusOK, map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": page})
}

func (c *Cluster) show(w http.ResponseWriter, r *http.Request, collection string) {
	k := key(collection, r.PathValue("namespace"), r.PathValue("name"))
	if !c.look(k) {
		missing(w, collection, r.PathValue("name"))
		return
	}
	send(w, http.StatusOK, c.objects[k])
}

func (c *Cluster) create(w http.ResponseWriter, r *http.Request) {
	namespace := r.PathValue("namespace")
	var pod map[string]any
	if err := json.NewDecoder(r.Body).Decode(&pod); err != nil {
		status(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	name := fmt.Sprint(member(pod, "metadata")["name"])
	if code, reason, message := refusal(pod, namespace); code != 0 {
		status(w, code, reason, message)
		return
	}
	if wrong := invalid(pod); wrong != "" {
		status(w, http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("Pod %q is invalid: %s", name, wrong))
		return
	}
	if !c.namespaces[namespace] {
		missing(w, "namespaces", namespace)
		return
	}
	k := key("pods", namespace, name)
	if c.objects[k] != nil {
		status(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("pods %q already exists", name))
		return
	}
	c.complete(pod)
	member(pod, "metadata")["namespace"] = namespace
	admit(pod)
	pod["status"] = map[string]any{"phase": "Pending"}
	c.objects[k] = pod
	if c.Looks > 0 {
		c.looks[k] = c.Looks
	}
	send(w, http.StatusCreated, pod)
}

func (c *Cluster) remove(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	k := key("pods", r.PathValue("namespace"), name)
	pod := c.objects[k]
	if pod == nil {
		missing(w, "pods", name)
		return
	}
	var options struct {
		Preconditions struct {
			UID string `json:"uid"`
		} `json:"preconditions"`
	}
	_ = json.NewDecoder(r.Body).Decode(&options) // there may be none
	metadata := member(pod, "metadata")
	if wanted := options.Preconditions.UID; wanted != "" && wanted != metadata["uid"] {
		status(w, http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on pods %q: Precondition failed: UID in precondition: %s, UID in object meta: %s", name, wanted, metadata["uid"]))
		return
	}
	if member(pod, "spec")["nodeName"] == nil { // no kubelet has it, so nobody needs to end it
		delete(c.objects, k)
		send(w, http.StatusOK, pod)
		return
	}
	c.version++
	metadata["resourceVersion"] = strconv.Itoa(c.version)
	metadata["deletionTimestamp"] = began.Add(30 * time.Second).Format(time.RFC3339)
	metadata["deletionGracePeriodSeconds"] = 30
	if c.Looks > 0 {
		c.looks[k] = c.Looks
	}
	send(w, http.StatusOK, pod)
}
