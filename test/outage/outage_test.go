// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// patience is that of the service with what is away; daemons start slowly on a
// machine that runs tests.
const patience = 10 * time.Minute

// endings are the errors with which an operation may end.
var endings = map[protection.Kind]string{
	protection.Protect: "CreateResourceFailed", protection.Restore: "RestoreResourceFailed",
	protection.Verify: "VerifyResourceFailed", protection.Delete: "DeleteResourceFailed",
}

// TestOutage takes each daemon of each scene away from a protect and a restore,
// after the first call that changes something; with KARBOR_TEST_FAILPOINTS=all from
// every operation, and before that call too.
func TestOutage(t *testing.T) {
	if os.Getenv("KARBOR_TEST_DAEMONS") == "" {
		t.Skip("KARBOR_TEST_DAEMONS is not set: no daemons that may be stopped")
	}
	all := os.Getenv("KARBOR_TEST_FAILPOINTS") == "all"
	kinds := []protection.Kind{protection.Protect, protection.Restore}
	if all {
		kinds = append(kinds, protection.Verify, protection.Delete)
	}
	for _, name := range slices.Sorted(maps.Keys(scenes)) {
		t.Run(name, func(t *testing.T) {
			for _, daemon := range scenes[name].daemons {
				for _, kind := range kinds {
					t.Run(fmt.Sprint(daemon, "/", kind), func(t *testing.T) { play(t, scenes[name], daemon, kind, true) })
					if all && kind != protection.Verify {
						t.Run(fmt.Sprint(daemon, "/before ", kind), func(t *testing.T) { play(t, scenes[name], daemon, kind, false) })
					}
				}
			}
		})
	}
}

// performance is an operation on the resource of a scene.
type performance struct {
	*scene
	t        *testing.T
	project  *openstacktest.RealProject
	harness  *plugintest.Harness
	daemon   string
	resource resource.Resource
	parts    []string
}

func play(t *testing.T, s scene, daemon string, kind protection.Kind, after bool) {
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_CINDER", "KARBOR_TEST_GLANCE", "KARBOR_TEST_MANILA", "KARBOR_TEST_NEUTRON", "KARBOR_TEST_NOVA",
		"KARBOR_TEST_SHARES", "KARBOR_TEST_SWIFT", "KARBOR_TEST_VOLUMES")
	if s.bank == nil {
		s.bank = inMemory
	}
	pf := &performance{scene: &s, t: t, project: p, daemon: daemon, harness: plugintest.Over(t, s.bank(t))}
	pf.resource, pf.parts = s.resource(p)
	unprotected := p.Inventory()
	if kind != protection.Protect {
		if err := pf.run(p.Factory, protection.Protect); err != nil {
			t.Fatalf("protect, undisturbed: %v", err)
		}
	}
	before := p.Inventory()

	o := &outage{t: t, daemon: daemon, after: after}
	err := pf.run(p.Wrapped(o.Transport(kind == protection.Verify || readsOnly(pf.resource, kind))), kind)
	o.happen() // an operation that calls nobody has not noticed
	o.ended.Wait()
	if err != nil {
		pf.failed(kind, err, before, unprotected)
		return
	}
	t.Log("succeeded")
	pf.succeeded(kind, unprotected)
}

// readsOnly tells that an operation changes nothing at the services.
func readsOnly(r resource.Resource, kind protection.Kind) bool {
	return kind == protection.Protect && (r.Type == resource.Server || r.Type == resource.Network || r.Type == resource.Image)
}

// run runs an operation as the service does.
func (p *performance) run(f *openstack.Factory, kind protection.Kind) error {
	p.harness.State = &plugintest.State{}
	if kind == protection.Restore {
		for _, part := range p.parts {
			p.harness.NewResources.Set(part, part)
		}
	}
	return p.harness.Run(p.context(), p.plugin(f), kind, p.harness.Call(p.resource))
}

func (p *performance) context() context.Context {
	return openstack.WithOutageTolerance(p.project.Context(), patience)
}

// succeeded checks what an operation has come to, and removes it.
func (p *performance) succeeded(kind protection.Kind, unprotected []string) {
	p.t.Helper()
	if kind == protection.Restore {
		restored, _ := p.harness.NewResources.Get(p.resource.ID)
		if p.same != nil && !p.same(p.project, p.resource.ID, restored) {
			p.t.Error("something else came back")
		}
		p.undo()
	}
	if kind != protection.Delete {
		if err := p.run(p.project.Factory, protection.Verify); err != nil {
			p.t.Errorf("verify, undisturbed: %v", err)
		}
		if err := p.run(p.project.Factory, protection.Delete); err != nil {
			p.t.Errorf("delete, undisturbed: %v", err)
		}
	}
	p.holds(unprotected)
}

// failed checks how it has ended. What the error names as left is removed as users
// and the service do it.
func (p *performance) failed(kind protection.Kind, err error, before, unprotected []string) {
	p.t.Helper()
	p.t.Logf("ended: %v", err)
	if !fault.Is(err, endings[kind]) || strings.Contains(err.Error(), `"http://`) {
		p.t.Errorf("it ended with %v", err)
	}
	named := strings.Contains(err.Error(), "left behind")
	if named || kind == protection.Delete {
		p.project.Rescue(p.resource.ID)
	}
	switch {
	case kind == protection.Restore && named:
		p.undo()
	case kind == protection.Delete: // it may have come to its end at the service
	case !named:
		p.holds(before)
	}
	if err := p.run(p.project.Factory, protection.Delete); err != nil {
		p.t.Errorf("delete, undisturbed: %v", err)
	}
	p.holds(unprotected)
}

// undo takes a restore back.
func (p *performance) undo() {
	p.t.Helper()
	operation, err := p.plugin(p.project.Factory).Operation(protection.Restore, p.resource)
	if err == nil {
		err = operation.Undo(p.context(), p.harness.Call(p.resource))
	}
	if err != nil {
		p.t.Errorf("undo of the restore: %v", err)
	}
}

// holds waits until the project holds what it should: a service that was killed
// cleans up in its own time.
func (p *performance) holds(want []string) {
	p.t.Helper()
	diff := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(interval) {
		if diff = cmp.Diff(p.lines(want), p.lines(p.project.Inventory())); diff == "" {
			return
		}
	}
	p.t.Errorf("the project holds something else (-want +got):\n%s", diff)
}

// lines are an inventory without containers that are empty, and without what
// Cinder forgets when its backup daemon is killed: the volume that it had made of a
// snapshot to read that, and objects of a backup that it was about to delete. No
// user of Cinder knows of them.
func (p *performance) lines(inventory []string) []string {
	return slices.DeleteFunc(slices.Clone(inventory), func(line string) bool {
		kind, rest, _ := strings.Cut(line, " ")
		forgotten := p.daemon == "cinder-backup" && (kind == "container" || kind == "volume" && strings.Contains(rest, " backup-vol-"))
		return forgotten || kind == "container" && strings.HasSuffix(line, " of 0 objects")
	})
}
