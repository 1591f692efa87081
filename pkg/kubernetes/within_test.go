// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"context"
	"errors"
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// open is a cluster whose every namespace answers.
type open struct{}

func (open) Pods(context.Context, string) ([]kubernetes.Pod, error) { return nil, nil }
func (open) PodPage(context.Context, string, string) ([]kubernetes.Pod, string, error) {
	return nil, "", nil
}
func (open) Pod(context.Context, string, string) (*kubernetes.Pod, error)    { return nil, nil }
func (open) CreatePod(context.Context, string, any) (*kubernetes.Pod, error) { return nil, nil }
func (open) DeletePod(context.Context, string, string, string) error         { return nil }
func (open) CinderVolume(context.Context, string, kubernetes.Volume) (*kubernetes.Cinder, error) {
	return nil, nil
}

// Each method is asked for a namespace that is there and for some that are not.
func TestWithin(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), kubernetes.Within(open{}, "apps", "shop")
	calls := map[string]func(namespace string) error{
		"Pods":         func(n string) error { _, err := c.Pods(ctx, n); return err },
		"PodPage":      func(n string) error { _, _, err := c.PodPage(ctx, n, ""); return err },
		"Pod":          func(n string) error { _, err := c.Pod(ctx, n, "web"); return err },
		"CreatePod":    func(n string) error { _, err := c.CreatePod(ctx, n, nil); return err },
		"DeletePod":    func(n string) error { return c.DeletePod(ctx, n, "web", "1") },
		"CinderVolume": func(n string) error { _, err := c.CinderVolume(ctx, n, kubernetes.Volume{}); return err },
	}
	for name, call := range calls {
		for _, namespace := range []string{"apps", "shop"} {
			if err := call(namespace); err != nil {
				t.Errorf("%s in %s: %v", name, namespace, err)
			}
		}
		for _, namespace := range []string{"kube-system", "", "Apps", "apps/../kube-system", "apps "} {
			if err := call(namespace); !errors.Is(err, kubernetes.ErrNotFound) {
				t.Errorf("%s in %q: %v", name, namespace, err)
			}
		}
	}
}

func TestPodID(t *testing.T) {
	t.Parallel()
	if got := kubernetes.PodID("default", "nginx"); got != "735de13a-3904-50da-9b7f-6f7519ba882f" { // of the original
		t.Errorf("got %s", got)
	}
}
