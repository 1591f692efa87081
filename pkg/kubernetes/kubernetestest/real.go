// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
)

// folder is the variable that names the folder of the kubeconfig files, the
// certificates and the keys of the real API server's users.
const folder = "KARBOR_TEST_KUBERNETES"

// Server is a real API server, with the rights of its administrator.
type Server struct {
	dir   string
	admin *rest.RESTClient
}

// Real returns the API server of the environment, or skips the test. The user
// "karbor" has what etc/kubernetes/karbor.yaml gives.
func Real(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: os.Getenv(folder)}
	if s.dir == "" {
		t.Skipf("%s is not set: no real service to test with", folder)
	}
	settings, err := clientcmd.BuildConfigFromFlags("", s.File("admin.conf"))
	must(t, err)
	scheme := runtime.NewScheme()
	version := meta.Unversioned
	meta.AddToGroupVersion(scheme, version)
	settings.GroupVersion, settings.ContentType = &version, runtime.ContentTypeJSON
	settings.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	settings.QPS = -1
	s.admin, err = rest.RESTClientFor(settings)
	must(t, err)
	t.Cleanup(func() { net.CloseIdleConnectionsFor(s.admin.Client.Transport) })
	s.apply(t, "etc/kubernetes/karbor.yaml")
	s.ensure(t, "/api/v1/nodes", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": %q}}`, node))
	return s
}

// File returns the path of a file of the server: NAME.conf, NAME.crt and NAME.key of a user, ca.crt.
func (s *Server) File(name string) string { return filepath.Join(s.dir, name) }

// Config returns the configuration of a user who logs in with a certificate.
func (s *Server) Config(user string) kubernetes.Config {
	settings, err := clientcmd.BuildConfigFromFlags("", s.File(user+".conf"))
	if err != nil {
		panic(err) // Real has read one like it
	}
	return kubernetes.Config{Host: settings.Host, CAFile: s.File("ca.crt"), CertFile: s.File(user + ".crt"), KeyFile: s.File(user + ".key")}
}

// Client returns a client that ends with the test.
func (s *Server) Client(t testing.TB, user string) *client.Client {
	c := client.New(s.Config(user))
	t.Cleanup(c.Close)
	return c
}

// World makes a namespace, with the service account that a controller would make.
func (s *Server) World(t testing.TB) World {
	t.Helper()
	namespace := "karbor-" + uuid.NewString()
	s.ensure(t, "/api/v1/namespaces", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q}}`, namespace))
	s.ensure(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts", `{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}`)
	return World{
		Client: s.Client(t, "karbor"), Stranger: s.Client(t, "stranger"), Namespace: namespace,
		Put: s.Put,
		Start: func(t testing.TB, pod string) {
			t.Helper()
			must(t, s.start(t.Context(), namespace, pod))
		},
		End: func(t testing.TB, pod string) {
			t.Helper()
			must(t, s.end(t.Context(), namespace, pod))
		},
	}
}

// Put creates an object from a manifest of the API's first group.
func (s *Server) Put(t testing.TB, manifest string) {
	t.Helper()
	var object struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	must(t, json.Unmarshal([]byte(manifest), &object))
	path := "/api/v1/"
	if object.Metadata.Namespace != "" {
		path += "namespaces/" + object.Metadata.Namespace + "/"
	}
	must(t, s.post(t.Context(), path+strings.ToLower(object.Kind)+"s", []byte(manifest)))
}

// ensure creates an object unless it exists.
func (s *Server) ensure(t testing.TB, path, manifest string) {
	t.Helper()
	if err := s.post(t.Context(), path, []byte(manifest)); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
}

func (s *Server) post(ctx context.Context, path string, manifest []byte) error {
	return s.admin.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(manifest).Do(ctx).Error()
}

// start does what scheduler and kubelet do with a new pod.
func (s *Server) start(ctx context.Context, namespace, pod string) error {
	path := "/api/v1/namespaces/" + namespace + "/pods/" + pod
	binding := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": %q}, "target": {"apiVersion": "v1", "kind": "Node", "name": %q}}`, pod, node)
	if err := s.post(ctx, path+"/binding", []byte(binding)); err != nil {
		return err
	}
	return s.admin.Patch(types.MergePatchType).AbsPath(path + "/status").Body([]byte(`{"status": {"phase": "Running"}}`)).Do(ctx).Error()
}

// end does what a kubelet finally does with a deleted pod.
func (s *Server) end(ctx context.Context, namespace, pod string) error {
	options := []byte(`{"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}`)
	return s.admin.Delete().AbsPath("/api/v1/namespaces/"+namespace+"/pods/"+pod).SetHeader("Content-Type", "application/json").Body(options).Do(ctx).Error()
}

// apply creates the roles and bindings of a file of the repository.
func (s *Server) apply(t testing.TB, file string) {
	t.Helper()
	f, err := os.Open(filepath.Join(root(t), file))
	must(t, err)
	defer f.Close()
	for documents := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var object map[string]any
		err := documents.Decode(&object)
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		text, err := json.Marshal(object)
		must(t, err)
		s.ensure(t, fmt.Sprintf("/apis/%s/%ss", object["apiVersion"], strings.ToLower(object["kind"].(string))), string(text))
	}
}

// root returns the path of the repository, which tests run below.
func root(t testing.TB) string {
	dir, err := os.Getwd()
	must(t, err)
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("the test runs outside of the repository")
	return ""
}

// Kubelet plays scheduler and kubelet for a namespace until the test ends: new pods
// run, deleted ones end.
func (s *Server) Kubelet(t testing.TB, namespace string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stream, err := s.admin.Get().AbsPath("/api/v1/namespaces/"+namespace+"/pods").Param("watch", "true").Stream(ctx)
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		stop()
		<-done
	})
	go func() {
		defer close(done)
		defer stream.Close()
		for events := json.NewDecoder(stream); ; {
			var event struct {
				Type   string         `json:"type"`
				Object kubernetes.Pod `json:"object"`
			}
			if err := events.Decode(&event); err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch the pods: %v", err)
				}
				return
			}
			if err := s.play(ctx, event.Type, &event.Object); err != nil && ctx.Err() == nil {
				t.Errorf("play the kubelet: %v", err)
			}
		}
	}()
}

func (s *Server) play(ctx context.Context, event string, pod *kubernetes.Pod) error {
	var err error
	switch {
	case event == "DELETED":
	case pod.Metadata.Deleted != nil:
		err = s.end(ctx, pod.Metadata.Namespace, pod.Metadata.Name)
	case event == "ADDED" && pod.Status.Phase == "Pending":
		err = s.start(ctx, pod.Metadata.Namespace, pod.Metadata.Name)
	}
	if apierrors.IsNotFound(err) { // it went away meanwhile
		return nil
	}
	return err
}
