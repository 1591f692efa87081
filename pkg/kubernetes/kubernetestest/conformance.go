// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
)

// World is a cluster for the suite: an API server without a scheduler, a kubelet and
// controllers, whose roles a test plays.
type World struct {
	Client    *client.Client // of somebody who may do what Karbor has to
	Stranger  *client.Client // of somebody who may do nothing
	Namespace string         // there, and empty
	// Put creates an object from a manifest: a PersistentVolumeClaim or a
	// PersistentVolume.
	Put func(t testing.TB, manifest string)
	// Start binds a pod to a node, where it runs.
	Start func(t testing.TB, pod string)
	// End ends a pod whose deletion has begun.
	End func(t testing.TB, pod string)
}

// Run checks that an API server, the fake one or a real one, and pkg/kubernetes/client
// behave as the plugins require. start makes a world with a namespace of its own.
func Run(t *testing.T, start func(t testing.TB) World) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, World){
		"pod comes and goes": comesAndGoes, "what is completed": completes, "what is refused": refuses,
		"running pod is deleted": isDeleted, "pages": pages, "namespace missing": namespaceMissing,
		"volumes": volumes, "forbidden": forbidden,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// Manifest returns the manifest of a small pod.
func Manifest(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "labels": map[string]any{"app": name}},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "busybox:1.36", "args": []any{"sleep", "1d"}}}},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, w World, name string) *kubernetes.Pod {
	t.Helper()
	pod, err := w.Client.CreatePod(t.Context(), w.Namespace, Manifest(name))
	must(t, err)
	return pod
}

func comesAndGoes(t *testing.T, w World) {
	made := create(t, w, "web")
	if made.Metadata.UID == "" || made.Metadata.Namespace != w.Namespace || made.Metadata.Labels["app"] != "web" || made.Status.Phase != "Pending" {
		t.Errorf("made %s", made.Raw)
	}
	if _, err := w.Client.CreatePod(t.Context(), w.Namespace, Manifest("web")); !kubernetes.IsAlreadyExists(err) || kubernetes.IsTransient(err) {
		t.Errorf("a second of the name: %v", err)
	}
	if err := w.Client.DeletePod(t.Context(), w.Namespace, "web", "another"); !kubernetes.IsConflict(err) {
		t.Errorf("delete another: %v", err)
	}
	w.Start(t, "web")
	is, err := w.Client.Pod(t.Context(), w.Namespace, "web")
	must(t, err)
	if is.Status.Phase != "Running" || is.Metadata.UID != made.Metadata.UID {
		t.Errorf("it is %s", is.Raw)
	}
	create(t, w, "early")
	early, err := w.Client.Pod(t.Context(), w.Namespace, "early")
	must(t, err)
	must(t, w.Client.DeletePod(t.Context(), w.Namespace, "early", early.Metadata.UID))
	// The pod was on no node, so no kubelet has to end it.
	if _, err := w.Client.Pod(t.Context(), w.Namespace, "early"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
	err = w.Client.DeletePod(t.Context(), w.Namespace, "early", early.Metadata.UID)
	if want := `pods "early" not found (HTTP 404)`; !errors.Is(err, kubernetes.ErrNotFound) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What the API server adds to a pod is what a restore has to leave out, or may keep.
func completes(t *testing.T, w World) {
	text := string(create(t, w, "web").Raw)
	for _, want := range []string{
		`"serviceAccountName":"default"`, `"priority":0`, `"preemptionPolicy":"PreemptLowerPriority"`, `"name":"kube-api-access-`,
		`"restartPolicy":"Always"`, `"imagePullPolicy":"IfNotPresent"`, `"dnsPolicy":"ClusterFirst"`, `"tolerationSeconds":300`,
		`"args":["sleep","1d"]`, `"resources":{}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func refuses(t *testing.T, w World) {
	for name, tc := range map[string]struct {
		change func(metadata, spec map[string]any)
		code   int
		want   string
	}{
		"name": {func(metadata, _ map[string]any) { metadata["name"] = "No Name" }, http.StatusUnprocessableEntity,
			`Pod "No Name" is invalid: metadata.name: Invalid value: "No Name": a lowercase RFC 1123 subdomain`},
		"containers": {func(_, spec map[string]any) { delete(spec, "containers") }, http.StatusUnprocessableEntity,
			"spec.containers: Required value"},
		"namespace": {func(metadata, _ map[string]any) { metadata["namespace"] = "another" }, http.StatusBadRequest,
			"the namespace of the provided object does not match the namespace sent on the request"},
		"version": {func(metadata, _ map[string]any) { metadata["resourceVersion"] = "7" }, http.StatusInternalServerError,
			"resourceVersion should not be set on objects to be created"},
		"priority": {func(_, spec map[string]any) { spec["priority"] = 7 }, http.StatusForbidden,
			"the integer value of priority (7) must not be provided in pod spec"},
		"mounts": {func(_, spec map[string]any) {
			spec["containers"].([]any)[0].(map[string]any)["volumeMounts"] = []any{map[string]any{"name": "data", "mountPath": "/data"}}
		}, http.StatusUnprocessableEntity, `spec.containers[0].volumeMounts[0].name: Not found: "data"`},
	} {
		manifest := Manifest("web")
		tc.change(manifest["metadata"].(map[string]any), manifest["spec"].(map[string]any))
		_, err := w.Client.CreatePod(t.Context(), w.Namespace, manifest)
		var status *kubernetes.StatusError
		if !errors.As(err, &status) || status.Code != tc.code || !strings.Contains(status.Message, tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	pods, err := w.Client.Pods(t.Context(), w.Namespace)
	if err != nil || len(pods) != 0 {
		t.Errorf("there are %v, %v", pods, err)
	}
}

// A pod on a node is there until its kubelet says that it has ended.
func isDeleted(t *testing.T, w World) {
	made := create(t, w, "web")
	w.Start(t, "web")
	for range 2 { // the second time nothing happens
		must(t, w.Client.DeletePod(t.Context(), w.Namespace, "web", made.Metadata.UID))
		going, err := w.Client.Pod(t.Context(), w.Namespace, "web")
		must(t, err)
		if going.Metadata.Deleted == nil || going.Status.Phase != "Running" {
			t.Errorf("it is not on its way: %s", going.Raw)
		}
	}
	if _, err := w.Client.CreatePod(t.Context(), w.Namespace, Manifest("web")); err == nil {
		t.Error("the name was free before the end")
	}
	w.End(t, "web")
	if _, err := w.Client.Pod(t.Context(), w.Namespace, "web"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
	create(t, w, "web")
}

// Pages of two, whatever the client asks for.
func pages(t *testing.T, w World) {
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("pod-%d", i))
		create(t, w, want[i])
	}
	asked := 0
	small := w.Client.Wrapped(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			r = r.Clone(r.Context())
			query := r.URL.Query()
			query.Set("limit", "2")
			r.URL.RawQuery = query.Encode()
			return next.RoundTrip(r)
		})
	})
	t.Cleanup(small.Close)
	pods, err := small.Pods(t.Context(), w.Namespace)
	must(t, err)
	var got []string
	for _, pod := range pods {
		got = append(got, pod.Metadata.Name)
		if pod.Metadata.UID == "" || !strings.Contains(string(pod.Raw), `"args":["sleep","1d"]`) {
			t.Errorf("listed %s", pod.Raw)
		}
	}
	if !slices.Equal(got, want) || asked != 3 {
		t.Errorf("got %v in %d pages", got, asked)
	}
	var status *kubernetes.StatusError
	if _, _, err := small.PodPage(t.Context(), w.Namespace, "no token"); !errors.As(err, &status) || status.Code != http.StatusBadRequest {
		t.Errorf("a wrong token: %v", err)
	}
}

func namespaceMissing(t *testing.T, w World) {
	const nowhere = "karbor-nowhere"
	pods, err := w.Client.Pods(t.Context(), nowhere)
	if err != nil || len(pods) != 0 {
		t.Errorf("got %v, %v", pods, err)
	}
	if _, err := w.Client.Pod(t.Context(), nowhere, "web"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	_, err = w.Client.CreatePod(t.Context(), nowhere, Manifest("web"))
	if want := `namespaces "karbor-nowhere" not found (HTTP 404)`; !errors.Is(err, kubernetes.ErrNotFound) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func forbidden(t *testing.T, w World) {
	_, getErr := w.Stranger.Pod(t.Context(), w.Namespace, "web")
	_, listErr := w.Stranger.Pods(t.Context(), w.Namespace)
	_, createErr := w.Stranger.CreatePod(t.Context(), w.Namespace, Manifest("web"))
	for verb, err := range map[string]error{
		"get": getErr, "list": listErr, "create": createErr, "delete": w.Stranger.DeletePod(t.Context(), w.Namespace, "web", "x"),
	} {
		want := fmt.Sprintf(`forbidden: User "stranger" cannot %s resource "pods" in API group "" in the namespace %q (HTTP 403)`, verb, w.Namespace)
		if err == nil || !strings.HasSuffix(err.Error(), want) || kubernetes.IsTransient(err) {
			t.Errorf("%s: got %v", verb, err)
		}
	}
}
