// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

const pods = "/api/v1/namespaces/shop/pods"

func TestProtectFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(c *kubernetestest.Cluster, r *resource.Resource)
		parameters []string
		class      string
		reason     string
	}{
		"no pod": {func(_ *kubernetestest.Cluster, r *resource.Resource) {
			r.ID, r.Name = kubernetes.PodID("shop", "other"), "shop:other"
		}, nil, "CreateResourceFailed", `pods "other" not found (HTTP 404)`},
		"no namespace": {func(_ *kubernetestest.Cluster, r *resource.Resource) { r.Name = "web" }, nil, "CreateResourceFailed", "not of the form namespace:name: web"},
		"no volume": {func(c *kubernetestest.Cluster, _ *resource.Resource) {
			c.Refuse("GET /api/v1/persistentvolumes", 403, "Forbidden")
		}, nil, "CreateResourceFailed", "refused by the test (HTTP 403)"},
		"volume of another": {func(c *kubernetestest.Cluster, r *resource.Resource) {
			c.Add(t, `{"kind": "Pod", "metadata": {"namespace": "shop", "name": "thief"}, "spec": {"volumes": [{"name": "loot", "cinder": {"volumeID": "of-another-project"}}]}}`)
			r.ID, r.Name = kubernetes.PodID("shop", "thief"), "shop:thief"
		}, nil, "CreateResourceFailed", "Volume of-another-project, which the pod mounts as loot, is not protected with it"},
		"unknown parameter": {func(*kubernetestest.Cluster, *resource.Resource) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h, r := newCluster(t), plugintest.New(t), web
			tc.arrange(c, &r)
			err := h.Run(openstacktest.Context(t), plugin(c), protection.Protect, h.Call(r, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(r, "status"); got != "error" || len(h.Keys(r)) != 1 {
				t.Errorf("status is %s, keys are %v", got, h.Keys(r))
			}
		})
	}
}

func TestRestoreFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange    func(t *testing.T, c *kubernetestest.Cluster, h *plugintest.Harness)
		parameters []string
		class      string
		reason     string
	}{
		"no metadata": {func(t *testing.T, _ *kubernetestest.Cluster, h *plugintest.Harness) {
			must(t, h.Call(web).Section.Delete(t.Context(), "metadata"))
		}, nil, "RestoreResourceFailed", "Get Object "},
		"pod fails":         {func(_ *testing.T, c *kubernetestest.Cluster, _ *plugintest.Harness) { c.Phase = "Failed" }, nil, "RestoreResourceFailed", "The pod does not run successfully"},
		"the name is taken": {func(*testing.T, *kubernetestest.Cluster, *plugintest.Harness) {}, []string{"restore_name", "web"}, "RestoreResourceFailed", `pods "web" already exists (HTTP 409)`},
		"no name":           {func(*testing.T, *kubernetestest.Cluster, *plugintest.Harness) {}, []string{"restore_name", "No Name"}, "RestoreResourceFailed", `metadata.name: Invalid value: "No Name"`},
		"unknown parameter": {func(*testing.T, *kubernetestest.Cluster, *plugintest.Harness) {}, []string{"colour", "red"}, "InvalidInput", "Parameter colour is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := newCluster(t), plugintest.New(t)
			p, ctx := plugin(c), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
			tc.arrange(t, c, h)
			err := h.Run(ctx, p, protection.Restore, h.Call(web, tc.parameters...))
			if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if n := len(records); n == 0 || records[n-1].Status != "error" || !strings.Contains(records[n-1].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
			if there, _ := c.Inventory(ctx); len(there) != 1 {
				t.Errorf("there is %v", there)
			}
		})
	}
}

// TestPodsOfOthers tries to protect pods that no project was given: by a name in a
// namespace of the system, and by a name that is not the id's.
func TestPodsOfOthers(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]resource.Resource{
		"a namespace of the system":  {Type: resource.Pod, ID: kubernetes.PodID("kube-system", "etcd"), Name: "kube-system:etcd"},
		"an id of another pod":       {Type: resource.Pod, ID: web.ID, Name: "kube-system:etcd"},
		"the right id, another name": {Type: resource.Pod, ID: kubernetes.PodID("shop", "db"), Name: "shop:web"},
		"no namespace":               {Type: resource.Pod, ID: web.ID, Name: "web"},
	} {
		c, h := newCluster(t), plugintest.New(t)
		c.AddNamespace("kube-system")
		c.Add(t, `{"kind": "Pod", "metadata": {"namespace": "kube-system", "name": "etcd"}, "spec": {"containers": [{"name": "main", "image": "etcd"}]}}`)
		p := withVolumes{New(poll.Config{PollInterval: time.Millisecond}, kubernetes.Within(c.Client, "shop"))}
		if err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(r)); err == nil {
			t.Errorf("%s: protected", name)
		}
		if asked := c.Asked("GET /api/v1/namespaces/kube-system"); len(asked) != 0 {
			t.Errorf("%s: asked for %q", name, asked)
		}
	}
}

// A pod cannot come back with the volumes of the old one.
func TestVolumeThatWasNotRestored(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	p, ctx := New(poll.Config{PollInterval: time.Millisecond}, c.Client), openstacktest.Context(t)
	must(t, h.Run(ctx, plugin(c), protection.Protect, h.Call(web)))
	err := h.Run(ctx, p, protection.Restore, h.Call(web))
	if want := "Volume " + claimed + " of the pod was not restored"; !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	p, ctx := plugin(c), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
	c.Phase = "Failed"
	c.Refuse("DELETE "+pods, http.StatusForbidden, "Forbidden")
	call := h.Call(web, "restore_name", "back")
	err := h.Run(ctx, p, protection.Restore, call)
	if want := "The pod does not run successfully; pod shop:back may be left behind: "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A wait for a pod whose image or volume never comes has an end.
func TestTheDeadlineOfAWait(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	delete(c.Data, restoredClaimed)
	p := withVolumes{New(poll.Config{PollInterval: time.Millisecond, PollTimeout: time.Millisecond}, c.Client)}
	ctx := openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
	err := h.Run(ctx, p, protection.Restore, h.Call(web))
	if !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), "The pod does not run successfully") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ key, text, status, reason string }{
		"not done":        {"status", "protecting", "protecting", "The status of pod backup status is protecting."},
		"no JSON":         {"metadata", "{", "error", "not the expected JSON"},
		"of nothing":      {"metadata", "{}", "error", "The metadata of the pod is not complete"},
		"manifest gone":   {"pod", "{}", "error", "The metadata of the pod is not complete"},
		"manifest spoilt": {"pod", "[", "error", "not the expected JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := newCluster(t), plugintest.New(t)
			p, ctx := plugin(c), openstacktest.Context(t)
			must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
			must(t, h.Call(web).Section.PutText(ctx, tc.key, tc.text))
			if err := h.Run(ctx, p, protection.Verify, h.Call(web)); !fault.Is(err, "VerifyResourceFailed") {
				t.Errorf("got %v", err)
			}
			records := h.Status.Records()
			if len(records) != 1 || records[0].Status != tc.status || !strings.Contains(records[0].Reason, tc.reason) {
				t.Errorf("recorded %v", records)
			}
		})
	}
}

// Without a cluster in karbor.conf the error says what is missing.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	err := h.Run(openstacktest.Context(t), New(poll.Config{}, client.New(kubernetes.Config{})), protection.Protect, h.Call(web))
	if err == nil || !strings.Contains(err.Error(), "k8s_host is not configured") {
		t.Errorf("got %v", err)
	}
}

// In a program without Kubernetes, a provider file that names the plugin is told why it is left out.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	entry, err := r.Lookup(Names[0])
	must(t, err)
	if _, err := entry.Build(nil, protection.Deps{}); err == nil || err.Error() != "this program is built without Kubernetes (build tag nokubernetes)" {
		t.Errorf("got %v", err)
	}
}
