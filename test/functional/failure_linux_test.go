// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/resource"
)

// TestBankOutOfReach protects into Swifts that do not work, and then elsewhere.
func TestBankOutOfReach(t *testing.T) {
	t.Parallel()
	need(t, "KARBOR_TEST_KEYSTONE", "KARBOR_TEST_SWIFT")
	s := newSite(t)
	whole := s.fsProvider(t.TempDir(), noop)
	broken := map[string]struct {
		provider    *provider
		option, bad string
	}{
		"no Keystone there": {s.swiftProvider("never", noop), "swift_auth_url", "http://" + closedPort(t) + "/v3"},
		"wrong key":         {s.swiftProvider("never", noop), "swift_key", "no password"},
		"unknown project":   {s.swiftProvider("never", noop), "swift_tenant_name", "nobody's"},
	}
	for _, b := range broken {
		b.provider.conf.set("swift_client", b.option, b.bad)
		s.writeProvider(b.provider)
	}
	w := s.started("worker")
	a := s.api(stranger())
	for name, b := range broken {
		failure := a.refused("FlowError", "protect", a.protectArgs(a.plan(b.provider.id, something())))
		if want := "Flow: protect, Error: Error creating checkpoint"; failure.Message != want {
			t.Errorf("%s: %q, want %q", name, failure.Message, want)
		}
		if n := a.providers(); n != 4 {
			t.Errorf("%s: %d providers after it, want 4", name, n)
		}
		a.refused("BankListObjectsFailed", "list_checkpoints", map[string]any{"provider_id": b.provider.id, "filters": map[string]any{}})
	}
	a.protected(a.plan(whole.id, something()))
	if log := w.logText(); strings.Contains(log, "no password") {
		t.Error("the log shows swift_key")
	}
}

// TestImageOutOfReach protects images that cannot be read.
func TestImageOutOfReach(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	p := s.fsProvider(t.TempDir(), image)
	owner := demo(t)
	g := s.useGate(owner)
	w := s.started("worker")
	a := s.api(owner.caller)
	source := owner.upload(mib)

	fails := func(what string, a *api, r resource.Resource, reason string) {
		t.Helper()
		pl := a.plan(p.id, r)
		var id string
		if err := a.try("protect", a.protectArgs(pl), &id); err != nil {
			t.Errorf("%s: %v, want a checkpoint that ends in error", what, err)
			return
		}
		if status := a.settled(pl, id); status != "error" {
			t.Errorf("%s: the checkpoint is %s, want error", what, status)
		}
		rows, failures := db.closed(id, 1)
		if rows[0].Status != "error" || !strings.Contains(failures[0], reason) || !strings.Contains(failures[0], r.ID) {
			t.Errorf("%s: operation log %+v with error_info %q, want error because of %q", what, rows[0], failures[0], reason)
		}
		a.delete(pl, id)
	}

	gone := demo(t)
	gone.revoke()
	fails("revoked token", a.as(gone.caller), source, "Authorization for ")
	fails("image that does not exist", a, resource.Resource{Type: resource.Image, ID: uuid.NewString(), Name: "none"}, "The status of image is invalid.")
	deleted := owner.upload(mib)
	owner.removeImage(deleted.ID)
	fails("deleted image", a, deleted, "The status of image is invalid.")

	g.mu.Lock()
	g.damage = true
	g.mu.Unlock()
	fails("damaged download", a, source, "Corrupt image download")
	g.mu.Lock()
	g.damage = false
	g.mu.Unlock()
	a.protected(a.plan(p.id, source))
	if log := w.logText(); strings.Contains(log, gone.caller.AuthToken) || strings.Contains(log, owner.caller.AuthToken) {
		t.Error("the log shows a token")
	}
}

// TestDiskFull protects into a file system that has no room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	s := newSite(t)
	s.useCloud()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(folder, 0)) })
	db := s.useMariaDB()
	s.sync()
	p := s.fsProvider(folder, image)
	u := demo(t)
	w := s.started("worker")
	a := s.api(u.caller)
	pl := a.plan(p.id, u.upload(20*mib))
	id := a.protect(pl)
	if status := a.settled(pl, id); status != "error" {
		t.Errorf("the checkpoint is %s, want error", status)
	}
	_, failures := db.closed(id, 1)
	if !strings.Contains(failures[0], "no space left on device") {
		t.Errorf("error_info is %q, want one that says why", failures[0])
	}
	if debris := temporary(t, folder, id); len(debris) > 0 {
		t.Errorf("left behind: %v", debris)
	}
	a.delete(pl, id)
	small := a.plan(p.id, u.upload(mib))
	a.delete(small, a.protected(small))
	w.stop()
}

// temporary finds the files in a bank that are no objects of a checkpoint.
func temporary(t *testing.T, folder, id string) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		known := name == "#bank" || name == "index.json" || name == "status" || name == "metadata" || strings.HasPrefix(name, "data_") || strings.HasSuffix(name, "@"+id)
		if err == nil && !d.IsDir() && !known {
			found = append(found, path)
		}
		return err
	}))
	return found
}
