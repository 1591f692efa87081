// SPDX-License-Identifier: Apache-2.0

// Package kubernetestest is an API server for tests: pods, claims and volumes, with the
// checks, defaults and refusals of the real one. Run is the conformance suite, which
// this server and the real one pass, and Real connects to the real one.
// kubernetes: api-reference v1.37, apimachinery/pkg/api/errors
package kubernetestest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
)

// Cluster is an API server and the nodes behind it that run pods.
type Cluster struct {
	*client.Client
	URL string
	// Looks is the number of looks at a pod that see it in transition; 2 by default. If
	// it is 0, only Start and End change the state of pods.
	Looks int
	// PageSize bounds a page of a listing; 500 by default.
	PageSize int
	// Data maps the Cinder volumes that exist to their contents.
	Data map[string]string
	// Phase is the phase that new pods reach; "Running" by default.
	Phase string

	mu         sync.Mutex
	version    int // of the newest change
	namespaces map[string]bool
	objects    map[string]map[string]any
	looks      map[string]int // looks that a pod has left, by key
	refuses    map[string]answer
	asked      []string
}

// began is the time of all events, so that a pod is the same in each run.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type answer struct {
	code           int
	reason, header string
}

// New starts an API server that ends with the test.
func New(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{
		Looks: 2, PageSize: 500, Phase: "Running", Data: map[string]string{},
		namespaces: map[string]bool{"default": true},
		objects:    map[string]map[string]any{}, looks: map[string]int{}, refuses: map[string]answer{},
	}
	mux := http.NewServeMux()
	const pods = "/api/v1/namespaces/{namespace}/pods"
	mux.HandleFunc("GET "+pods, c.list)
	mux.HandleFunc("POST "+pods, c.create)
	mux.HandleFunc("GET "+pods+"/{name}", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, "pods") })
	mux.HandleFunc("DELETE "+pods+"/{name}", c.remove)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, "persistentvolumeclaims") })
	mux.HandleFunc("GET /api/v1/persistentvolumes/{name}", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, "persistentvolumes") })
	server := httptest.NewServer(c.guard(mux))
	c.URL = server.URL
	c.Client = client.New(kubernetes.Config{Host: server.URL})
	t.Cleanup(func() {
		c.Client.Close()
		server.Close()
	})
	return c
}

// guard takes the lock, and answers requests that are to be refused.
func (c *Cluster) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.Header.Get(stranger) != "" {
			c.forbid(w, r)
			return
		}
		call := r.Method + " " + r.URL.Path
		c.asked = append(c.asked, call)
		for start, refused := range c.refuses {
			if strings.HasPrefix(call, start) {
				if refused.header != "" {
					w.Header().Set("Retry-After", refused.header)
					delete(c.refuses, start) // once
				}
				status(w, refused.code, refused.reason, "refused by the test")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse answers all calls whose method and path begin with start, such as "POST
// /api/v1/namespaces", with an error.
func (c *Cluster) Refuse(start string, code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses[start] = answer{code: code, reason: reason}
}

// Later answers the next such call with an error that asks the client to come back
// after some seconds.
func (c *Cluster) Later(start string, code, seconds int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses[start] = answer{code: code, reason: "TooManyRequests", header: strconv.Itoa(seconds)}
}

// Asked returns method and path of the calls so far that begin with start.
func (c *Cluster) Asked(start string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.asked), func(call string) bool { return !strings.HasPrefix(call, start) })
}

// Add creates an object in the cluster, and its namespace: a manifest in JSON of a Pod, which
// runs, a PersistentVolumeClaim or a PersistentVolume. A pod gets what the real
// server completes.
func (c *Cluster) Add(t testing.TB, manifest string) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(manifest), &object); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	collection := strings.ToLower(object["kind"].(string)) + "s"
	if namespace, ok := member(object, "metadata")["namespace"].(string); ok {
		c.namespaces[namespace] = true
	}
	c.complete(object)
	if collection == "pods" {
		admit(object)
		member(object, "spec")["nodeName"] = node
		object["status"] = map[string]any{"phase": "Running"}
	}
	c.objects[key(collection, member(object, "metadata")["namespace"], member(object, "metadata")["name"])] = object
}

// AddNamespace makes a namespace.
func (c *Cluster) AddNamespace(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.namespaces[name] = true
}

// Start makes the new pod of a name run, in any namespace.
func (c *Cluster) Start(t testing.TB, name string) { c.advance(t, name) }

// End ends the pod of a name whose deletion has begun.
func (c *Cluster) End(t testing.TB, name string) { c.advance(t, name) }

func (c *Cluster) advance(t testing.TB, name string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.objects {
		if strings.HasPrefix(k, "pods/") && strings.HasSuffix(k, "/"+name) {
			c.pass(k)
			return
		}
	}
	t.Fatalf("there is no pod %s", name)
}

// Object returns an object in its present state, nil if it does not exist. collection
// is as in paths, "pods"; volumes have no namespace.
func (c *Cluster) Object(collection, namespace, name string) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.objects[key(collection, namespace, name)])
}

// Inventory names the pods, with phase, images and the data that they mount.
func (c *Cluster) Inventory(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var there []string
	for k, object := range c.objects {
		if !strings.HasPrefix(k, "pods/") {
			continue
		}
		text := fmt.Sprintf("%s %v", k, member(object, "status")["phase"])
		for _, v := range items(member(object, "spec"), "volumes") {
			if id, ok := member(v, "cinder")["volumeID"].(string); ok {
				text += fmt.Sprintf(", %s with %q", v["name"], c.Data[id])
			}
		}
		there = append(there, text)
	}
	return there, nil
}

// complete sets the members that every object has.
func (c *Cluster) complete(object map[string]any) {
	c.version++
	metadata := member(object, "metadata")
	metadata["uid"] = uuid.NewString()
	metadata["resourceVersion"] = strconv.Itoa(c.version)
	metadata["creationTimestamp"] = began.Format(time.RFC3339)
	object["metadata"] = metadata
}

func key(collection string, namespace, name any) string {
	if namespace == nil {
		namespace = ""
	}
	return fmt.Sprintf("%s/%s/%s", collection, namespace, name)
}

// member returns the object in a member of an object, an empty one if it is missing.
func member(object map[string]any, name string) map[string]any {
	inner, ok := object[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
	}
	return inner
}

// items returns the objects of an object's list.
func items(object map[string]any, name string) []map[string]any {
	list, _ := object[name].([]any)
	var objects []map[string]any
	for _, item := range list {
		if inner, ok := item.(map[string]any); ok {
			objects = append(objects, inner)
		}
	}
	return objects
}

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

// look is one look at a pod. It reports whether the pod is there.
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

// pass advances the state of a pod: a new one runs, a deleted one ends.
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

// phase returns the phase of a new pod: it waits until its volumes exist.
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

// stranger is a header of calls by a user without any rights.
const stranger = "X-Test-Stranger"

// Stranger returns a client of a user without any rights.
func (c *Cluster) Stranger() *client.Client {
	return c.Wrapped(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set(stranger, "yes")
			return next.RoundTrip(r)
		})
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// forbid refuses a call about pods as RBAC does.
// kubernetes: apiserver/pkg/endpoints/handlers/responsewriters
func (c *Cluster) forbid(w http.ResponseWriter, r *http.Request) {
	// /api/v1/namespaces/NAMESPACE/pods[/NAME]
	parts := strings.Split(r.URL.Path, "/")
	verb := map[string]string{http.MethodGet: "list", http.MethodPost: "create", http.MethodDelete: "delete"}[r.Method]
	what := "pods"
	if len(parts) == 7 {
		what = fmt.Sprintf("pods %q", parts[6])
		if verb == "list" {
			verb = "get"
		}
	}
	status(w, http.StatusForbidden, "Forbidden",
		fmt.Sprintf("%s is forbidden: User \"stranger\" cannot %s resource \"pods\" in API group \"\" in the namespace %q", what, verb, parts[4]))
}
