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

// Setup says what provider files can name.
type Setup struct {
	Banks   *providers.BankRegistry
	Plugins *protection.Registry
	// Observe is told of operations, see operation.Config; nil for nobody.
	Observe func(operation.Event)
	// Wrap puts something around the service's own parts; the zero value nothing.
	Wrap Wrap
}

// Wrap makes decorators of what an instance works with, for tests that watch it
// or make it fail. A nil function leaves its part as it is.
type Wrap struct {
	Transport func(rpc.Transport) rpc.Transport
	Journal   func(journal.Journal) journal.Journal
	Records   func(operation.Records) operation.Records
	HTTP      func(http.RoundTripper) http.RoundTripper // to OpenStack's services
}

// wrapped applies a decorator, if there is one.
func wrapped[T any](wrap func(T) T, part T) T {
	if wrap == nil {
		return part
	}
	return wrap(part)
}

// Builtin is the Setup of the banks and plugins that come with the service,
// under the names that provider files of the original use.
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
