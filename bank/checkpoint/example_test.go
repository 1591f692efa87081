// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

func Example() {
	ctx := context.Background()
	checkpoints := checkpoint.NewCollection(bank.New(banktest.NewMemory(), nil), "provider-1", checkpoint.Options{
		Clock: func() time.Time { return time.Unix(1795362440, 0) },
		NewID: func() string { return "checkpoint-1" },
	})
	cp, err := checkpoints.Create(ctx, checkpoint.CreateOptions{
		Plan:      checkpoint.Plan{ID: "plan-1", Name: "nightly", ProviderID: "provider-1", ProjectID: "project-1"},
		ExtraInfo: json.RawMessage(`"{\"created_by\": \"manual\"}"`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := cp.SetStatus(checkpoint.Available); err != nil {
		fmt.Println(err)
	}
	if err := cp.Commit(ctx); err != nil {
		fmt.Println(err)
	}

	newest, err := checkpoints.List(ctx, checkpoint.ListOptions{ProjectID: "project-1", Limit: 1, Descending: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, cp := range newest {
		view, err := json.Marshal(cp.View())
		fmt.Println(string(view), err)
	}
	// Output:
	// {"id":"checkpoint-1","status":"available","protection_plan":{"id":"plan-1","name":"nightly","provider_id":"provider-1","resources":[]},"extra_info":"{\"created_by\": \"manual\"}","project_id":"project-1","resource_graph":"[{}, []]","created_at":"2026-11-22"} <nil>
}
