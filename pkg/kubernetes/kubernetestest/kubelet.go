// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"context"
	"encoding/json"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

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
