// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/resource"
)

// A name that is null is null in the bank and comes back as null; an empty one stays
// empty.
func TestNullNames(t *testing.T) {
	t.Parallel()
	store := banktest.NewMemory()
	all := checkpoint.NewCollection(bank.New(store, nil), "provider", checkpoint.Options{})
	plan := checkpoint.Plan{ID: "plan", Unnamed: true, ProviderID: "provider", ProjectID: "project", Resources: []resource.Resource{
		resource.New(resource.Image, "1", nil), {Type: resource.Image, ID: "2"}, {Type: resource.Image, ID: "3", Name: "null"},
	}}
	made, err := all.Create(t.Context(), checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Protecting})
	if err != nil {
		t.Fatal(err)
	}
	text := string(store.Objects()["/checkpoints/"+made.ID()+"/index.json"].Body)
	for _, part := range []string{`"plan", "name": null`, `OS::Glance::Image", "name": null`, `"name": ""`, `"name": "null"`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	found, err := all.Get(t.Context(), made.ID())
	if err != nil {
		t.Fatal(err)
	}
	got := found.Plan()
	if !got.Unnamed || !got.Resources[0].Unnamed || got.Resources[1].Unnamed || got.Resources[2].Name != "null" {
		t.Errorf("came back as %+v", got)
	}
}
