// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Service is the service whose resources a plugin protects, as a test sees it.
type Service interface {
	// Inventory names what is there, in any order, so that things which the
	// test did not make do not show and those that it made twice show twice.
	// Names are the same in each run: they carry no ids that are made up.
	Inventory(ctx context.Context) ([]string, error)
}

// World is what a plugin works on: a service with one resource in it that is to
// be protected.
type World struct {
	Service
	Resource resource.Resource
	// Plugin makes an instance as a new process does, with nothing in it of an
	// instance before. All its calls go through the process: its HTTP clients
	// use Process.Transport.
	Plugin func(p *Process) protection.Plugin
	// Caller is the user who requests the operations. Nil: nobody.
	Caller *requestcontext.RequestContext
	// Graph is the checkpoint's resource graph. Nil: the resource alone.
	Graph *resource.Graph
	// Parameters are the user's, by kind.
	Parameters map[protection.Kind]protection.Parameters
	// Bank is empty, or shared by worlds that run one after the other. Nil: one
	// in memory.
	Bank bank.Plugin
	// Lags reports that the bank or the service shows changes only after a while.
	Lags bool
	// Normalize takes out of a text what differs from run to run besides UUIDs.
	// It may be nil.
	Normalize func(text string) string
}

// Options tune Survive.
type Options struct {
	// Kinds are the operations to test. Empty: all that the plugin has.
	Kinds []protection.Kind
	// Cuts is at how many calls at most an operation is cut in each way, spread
	// over all its calls. 0: at every call. It is for services that take their
	// time.
	Cuts int
	// Twice is how many times an operation is killed twice, at random. 0: ten.
	Twice int
}

// Survive holds a plugin to what Hook and Operation promise. It makes a world,
// runs an operation in it and cuts it at a call to a service, to the bank, or to
// what keeps states and statuses; then a new process goes on. It does so for
// every call, and for each way in which a hook can end: killed before the call,
// after it, so that the answer is lost, and in the middle of an upload; handed
// over; drained; cancelled. In the end all is as after an undisturbed run, with
// nothing made twice and nothing left over; after Undo all is as it was before.
//
// build makes a world; it is called for each run, of which there are hundreds.
func Survive(t *testing.T, o Options, build func(t testing.TB) *World) {
	t.Helper()
	if o.Twice == 0 {
		o.Twice = 10
	}
	for _, kind := range kinds(t, o, build) {
		t.Run(string(kind), func(t *testing.T) {
			reference, err := observe(t, kind, build)
			if err != nil {
				t.Fatalf("undisturbed: %v", err)
			}
			for _, trial := range reference.trials(o) {
				t.Run(trial.name, func(t *testing.T) {
					if err := trial.run(t, build); err != nil {
						t.Errorf("%v\nthe undisturbed run calls:\n%s", err, reference.listing())
					}
				})
			}
		})
	}
}

// kinds returns those that the plugin has, with hooks or without.
func kinds(t testing.TB, o Options, build func(t testing.TB) *World) []protection.Kind {
	t.Helper()
	if len(o.Kinds) > 0 {
		return o.Kinds
	}
	w := build(t)
	plugin := w.Plugin(newProcess(t.Context(), cut{}))
	var has []protection.Kind
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy} {
		if _, err := plugin.Operation(kind, w.Resource); err == nil {
			has = append(has, kind)
		}
	}
	return has
}
