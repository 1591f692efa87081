// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(Tests{m}) }

func TestConformance(t *testing.T) {
	t.Parallel()
	Run(t, func(t testing.TB) World {
		c := New(t)
		c.Looks = 0
		c.AddNamespace("shop")
		return World{Client: c.Client, Stranger: c.Stranger(), Namespace: "shop", Put: c.Add, Start: c.Start, End: c.End}
	})
}
