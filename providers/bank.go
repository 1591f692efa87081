// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
)

// BankBuilder makes a bank plugin from a provider file. It does no network
// traffic: a bank that cannot be reached must not keep the service from
// starting. The lease is nil for banks that have none.
type BankBuilder func(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error)

// BankEntry is one kind of bank.
type BankEntry struct {
	// Names are the entry-point name first, then other accepted names.
	Names   []string
	Options []config.Option
	Build   BankBuilder
}

// BankRegistry finds banks by the names that provider files use.
type BankRegistry struct{ entries []BankEntry }

// Register adds a kind of bank.
func (r *BankRegistry) Register(names []string, options []config.Option, build BankBuilder) {
	r.entries = append(r.entries, BankEntry{Names: names, Options: options, Build: build})
}

// Lookup finds a kind of bank by any of its names.
func (r *BankRegistry) Lookup(name string) (*BankEntry, error) {
	for i := range r.entries {
		for _, known := range r.entries[i].Names {
			if known == name {
				return &r.entries[i], nil
			}
		}
	}
	var names []string
	for _, entry := range r.entries {
		names = append(names, entry.Names[0])
	}
	return nil, fmt.Errorf("bank plugin %q is not known; there are %s", name, strings.Join(names, ", "))
}

// Entries returns all kinds of banks, for the documentation of their options.
func (r *BankRegistry) Entries() []BankEntry { return r.entries }
