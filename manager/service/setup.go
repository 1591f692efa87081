// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/http"

	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/bank/swift"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	plugins "github.com/karbor-project/karbor/providers/protection/builtin"
	"github.com/karbor-project/karbor/rpc"
)

// Setup has the banks and plugins that provider files may name.
type Setup struct {
	Banks   *providers.BankRegistry
	Plugins *protection.Registry
	// Observe is called for events of operations, see operation.Config; it may be nil.
	Observe func(operation.Event)
	// Wrap decorates the service's own parts; the zero value does not.
	Wrap Wrap
}

// Wrap has decorators for the dependencies of an instance, for tests that observe them or inject
// faults. A nil function leaves its part as it is.
type Wrap struct {
	Transport func(rpc.Transport) rpc.Transport
	Journal   func(journal.Journal) journal.Journal
	Records   func(operation.Records) operation.Records
	HTTP      func(http.RoundTripper) http.RoundTripper // to OpenStack's services
}

// wrapped applies a decorator, unless it is nil.
func wrapped[T any](wrap func(T) T, part T) T {
	if wrap == nil {
		return part
	}
	return wrap(part)
}

// Builtin returns the Setup with the banks and plugins that come with the service, under the names
// that provider files of the original use.
func Builtin() Setup {
	banks := &providers.BankRegistry{}
	const class = "karbor.services.protection.bank_plugins."
	banks.Register([]string{"karbor-swift-bank-plugin", class + "swift_bank_plugin.SwiftBankPlugin"},
		swift.Options, swift.FromConfig)
	banks.Register([]string{"karbor-fs-bank-plugin", class + "file_system_bank_plugin.FileSystemBankPlugin"},
		filesystem.Options, filesystem.FromConfig)
	registry := protection.NewRegistry()
	plugins.Register(registry)
	return Setup{Banks: banks, Plugins: registry}
}
