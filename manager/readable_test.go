// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
)

// unreadable are values that no Python program reads.
func unreadable() map[string]string {
	return map[string]string{
		"an integer of 5000 digits":   strings.Repeat("9", 5000),
		"one of 100000 digits":        `{"a": [-` + strings.Repeat("1", 100000) + `]}`,
		"values nested 900 deep":      strings.Repeat("[", 900) + strings.Repeat("]", 900),
		"objects nested 900 deep":     strings.Repeat(`{"a":`, 900) + "1" + strings.Repeat("}", 900),
		"a text with such an integer": `"{\"a\": ` + strings.Repeat("9", 5000) + `}"`,
	}
}

// What no Python program can read is refused where it comes in, whatever carries it.
func TestUnreadableValuesAreRefused(t *testing.T) {
	t.Parallel()
	engine := operation.New(operation.Config{Journal: journaltest.NewMemory(nil), Records: noRecords{}})
	t.Cleanup(func() { engine.Stop(context.Background()) })
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Config{Providers: providers.NewRegistry(), Operations: engine, Log: log})
	methods := m.Endpoints()[0].Methods
	for name, value := range unreadable() {
		plan := `{"id": "p", "provider_id": "x", "resources": [{"id": "r", "type": "t", "name": "n", "extra_info": ` + value + `}]}`
		for call, arguments := range map[string]string{
			"protect":           `{"plan": ` + plan + `}`,
			"copy":              `{"plan": ` + plan + `}`,
			"execute_operation": `{"action": "protect", "backup_plan": ` + plan + `}`,
		} {
			t.Run(call+"/"+name, func(t *testing.T) {
				t.Parallel()
				request := requestOf("project")
				if err := json.Unmarshal([]byte(arguments), &request.Args); err != nil {
					t.Fatal(err)
				}
				_, err := methods[call].Handler(t.Context(), request)
				if !fault.Is(err, "InvalidInput") && !fault.Is(err, "InvalidPlan") || !strings.Contains(err.Error(), "no Python program") {
					t.Errorf("got %v", err)
				}
			})
		}
		if _, err := checkpointProperties(map[string]json.RawMessage{"extra_info": json.RawMessage(value)}); !fault.Is(err, "InvalidInput") {
			t.Errorf("%s in checkpoint_properties: %v", name, err)
		}
	}
}

// A checkpoint that no Python program could read, such as one of an older worker, costs
// nobody the others of a listing.
func TestUnreadableCheckpointsAreLeftOut(t *testing.T) {
	t.Parallel()
	store := banktest.NewMemory()
	p, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(store, nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Config{Providers: providers.NewRegistry(p), Log: log})
	ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "project"})
	create := func(id, value string) {
		graph, err := resource.Pack(&resource.Graph{Roots: []*resource.Node{{Resource: resource.Resource{Type: "t", ID: "r", ExtraInfo: json.RawMessage(value)}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Checkpoints.Create(ctx, checkpoint.CreateOptions{ID: id, ResourceGraph: graph, Plan: checkpoint.Plan{ID: "plan", ProviderID: "provider", ProjectID: "project",
			Resources: []resource.Resource{{Type: "t", ID: "r", ExtraInfo: json.RawMessage(value)}}}}); err != nil {
			t.Fatal(err)
		}
	}
	create("fine", `{"a": 1}`)
	number := 0
	for name, value := range unreadable() {
		if name == "a text with such an integer" {
			continue // it is no more than a text on its way
		}
		number++
		id := fmt.Sprint("bad-", number)
		create(id, value)
		if _, err := m.showCheckpoint(ctx, argumentsOf(t, `{"provider_id": "provider", "checkpoint_id": "`+id+`"}`)); err == nil || !strings.Contains(err.Error(), "cannot be shown") {
			t.Errorf("%s is shown: %v", name, err)
		}
	}
	got, err := m.listCheckpoints(ctx, argumentsOf(t, `{"provider_id": "provider"}`))
	if err != nil {
		t.Fatal(err)
	}
	if views := decoded[checkpoint.View](t, got); len(views) != 1 || views[0].ID != "fine" {
		t.Errorf("listed %d checkpoints, want the one that is fine", len(views))
	}
}

// A plan of very many resources is refused by their count; those beyond the bound are not kept.
func TestPlanOfTooManyResources(t *testing.T) {
	const count = 200000
	value := json.RawMessage("[" + strings.Repeat(`{"id":"i","type":"t"},`, count-1) + `{"id":"i","type":"t"}]`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := resourcesOf(value, 1000)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "200000 are more than") || !strings.Contains(err.Error(), "at most 1000 ") {
		t.Errorf("got %v", err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > uint64(4*len(value)) {
		t.Errorf("%d bytes were allocated for a text of %d", taken, len(value))
	}
}
