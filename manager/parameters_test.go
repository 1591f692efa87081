// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
)

// Every plan may say what becomes of what is unfit, of types that have statuses.
func TestOnUnfitOfAPlan(t *testing.T) {
	t.Parallel()
	p, err := providers.New(providers.Definition{ID: "p", Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(banktest.NewMemory(), nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for _, c := range []struct{ key, value, want string }{
		{"OS::Nova::Server", `"leave_out"`, ""},
		{"OS::Nova::Server#1", `"fail"`, ""},
		{"OS::Nova::Server", `"perhaps"`, "parameters of OS::Nova::Server: on_unfit: want fail or leave_out"},
		{"OS::Nova::Server", `null`, "parameters of OS::Nova::Server: on_unfit: want fail or leave_out"},
		{"OS::Neutron::Network", `"leave_out"`, "parameters of OS::Neutron::Network: unknown parameter on_unfit; there are none"},
	} {
		err := checkOptions(p, operation.Parameters{c.key: {"on_unfit": json.RawMessage(c.value)}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want)) {
			t.Errorf("%s=%s: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
}
