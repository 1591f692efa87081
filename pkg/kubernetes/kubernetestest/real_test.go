// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
)

// A real API server passes what the fake one passes.
func TestRealConformance(t *testing.T) {
	s := Real(t)
	Run(t, s.World)
}

// A kubeconfig is as good as options for certificates.
func TestRealKubeconfig(t *testing.T) {
	s := Real(t)
	w := s.World(t)
	c := client.New(kubernetes.Config{Kubeconfig: s.File("karbor.conf")})
	t.Cleanup(c.Close)
	if _, err := c.CreatePod(t.Context(), w.Namespace, Manifest("web")); err != nil {
		t.Error(err)
	}
}

func TestRealCertificates(t *testing.T) {
	s := Real(t)
	w := s.World(t)
	for want, change := range map[string]func(*kubernetes.Config){
		"certificate signed by unknown authority":                     func(c *kubernetes.Config) { c.CAFile = s.File("stranger.crt") },
		`User "system:anonymous" cannot list resource "pods"`:         func(c *kubernetes.Config) { c.CertFile, c.KeyFile = "", "" },
		"private key does not match public key":                       func(c *kubernetes.Config) { c.KeyFile = s.File("stranger.key") },
		`User "stranger" cannot list resource "pods" in API group ""`: func(c *kubernetes.Config) { *c = s.Config("stranger") },
	} {
		cfg := s.Config("karbor")
		change(&cfg)
		c := client.New(cfg)
		if _, err := c.Pods(t.Context(), w.Namespace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
		c.Close()
	}
}
