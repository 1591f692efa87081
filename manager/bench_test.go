// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
)

// BenchmarkListProviders is what a call costs between its decoding and the
// sending of its answer.
func BenchmarkListProviders(b *testing.B) {
	var all []*providers.Provider
	for i := range 2 {
		p, err := providers.New(providers.Definition{ID: fmt.Sprint("provider-", i), Name: "noop",
			Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(banktest.NewMemory(), nil)})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, p)
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	m := New(Config{Providers: providers.NewRegistry(all...), Log: silent})
	list := m.Endpoints()[0].Methods["list_providers"].Handler
	null := json.RawMessage("null")
	request := &rpc.Request{Method: "list_providers",
		Args: map[string]json.RawMessage{"marker": null, "limit": null, "sort_keys": null, "sort_dirs": null, "filters": null},
		Context: rpc.Context{"user_id": json.RawMessage(`"u"`), "project_id": json.RawMessage(`"p"`),
			"request_id": json.RawMessage(`"req-1"`), "roles": json.RawMessage(`["member"]`)}}
	b.ReportAllocs()
	for b.Loop() {
		if result, err := list(b.Context(), request); err != nil || result == nil {
			b.Fatalf("%v, %v", result, err)
		}
	}
}
