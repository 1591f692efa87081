// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func newRealProject(t testing.TB) *openstacktest.RealProject {
	t.Helper()
	return openstacktest.NewRealProject(t, "KARBOR_TEST_MANILA", "KARBOR_TEST_SHARES")
}

func realPlugin(p *openstacktest.RealProject) *Plugin {
	return New(poll.Config{PollInterval: 300 * time.Millisecond}, p.Factory)
}

// newRealShare makes a share and writes files into it.
func newRealShare(t testing.TB, p *openstacktest.RealProject, name string) resource.Resource {
	t.Helper()
	id := p.Create(openstacktest.Share, map[string]any{"name": name, "size": 1, "share_proto": "NFS"})
	r := resource.Resource{Type: resource.Share, ID: id, Name: name}
	write(t, r.ID, "letter", "dear reader")
	write(t, r.ID, "photos/2024/noise", string(openstacktest.Noise(1<<20+1)))
	write(t, r.ID, "empty", "")
	return r
}

// write does what a user does who has mounted the share.
func write(t testing.TB, id, name, content string) {
	t.Helper()
	path := filepath.Join(openstacktest.ShareFolder(id), name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// content returns the files of a share by name.
func content(t testing.TB, id string) map[string]string {
	t.Helper()
	files := map[string]string{}
	folder := openstacktest.ShareFolder(id)
	must(t, filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, folder+"/")] = string(data)
		return err
	}))
	return files
}

// TestReal takes a share of a real Manila there and back: it is overwritten, and
// comes back with the bytes that it had.
func TestReal(t *testing.T) {
	t.Parallel()
	p := newRealProject(t)
	before, r := p.Inventory(), newRealShare(t, p, "home")
	ctx, plugin, h, want := p.Context(), realPlugin(p), plugintest.New(t), content(t, r.ID)

	must(t, h.Run(ctx, plugin, protection.Protect, h.Call(r, "snapshot_name", "nightly", "description", "of the house", "force", "True")))
	must(t, h.Run(ctx, plugin, protection.Verify, h.Call(r)))

	// Manila deletes no share that has snapshots.
	must(t, os.RemoveAll(filepath.Join(openstacktest.ShareFolder(r.ID), "photos")))
	write(t, r.ID, "letter", "overwritten")
	lost := content(t, r.ID)

	for i, name := range []string{"back", "back again"} {
		h.State = &plugintest.State{}
		must(t, h.Run(ctx, plugin, protection.Restore, h.Call(r, "restore_name", name)))
		restored, _ := h.NewResources.Get(r.ID)
		if diff := cmp.Diff(want, content(t, restored)); diff != "" {
			t.Errorf("restore %d brought other bytes (-want +got):\n%s", i, diff)
		}
		shown := p.Show(openstacktest.Share, restored)
		if shown["name"] != name || shown["status"] != "available" || shown["size"] != 1.0 || shown["share_proto"] != "NFS" {
			t.Errorf("restored %v", shown)
		}
		p.Delete(openstacktest.Share, restored)
	}
	if diff := cmp.Diff(lost, content(t, r.ID)); diff != "" {
		t.Errorf("a restore has touched the share itself (-want +got):\n%s", diff)
	}

	must(t, h.Run(ctx, plugin, protection.Delete, h.Call(r)))
	if err := h.Run(ctx, plugin, protection.Verify, h.Call(r)); !fault.Is(err, "VerifyResourceFailed") {
		t.Errorf("verify of what is deleted: %v", err)
	}
	p.Delete(openstacktest.Share, r.ID)
	if diff := cmp.Diff(before, p.Inventory()); diff != "" {
		t.Errorf("the project holds something else (-before +after):\n%s", diff)
	}
}

// TestRealFails lets the real Manila fail at a step. What was made for the
// operation is gone afterwards.
func TestRealFails(t *testing.T) {
	t.Parallel()
	p := newRealProject(t)
	ctx, plugin := p.Context(), realPlugin(p)
	r := newRealShare(t, p, "home")
	failing := resource.Resource{Type: resource.Share, ID: p.Create(openstacktest.Share, map[string]any{"name": "fail-snapshot", "size": 1, "share_proto": "NFS"})}
	broken := resource.Resource{Type: resource.Share, ID: p.Make(openstacktest.Share, map[string]any{"name": "fail-create", "size": 1, "share_proto": "NFS"})}
	p.Await(openstacktest.Share, broken.ID, "error")
	h := plugintest.New(t)
	must(t, h.Run(ctx, plugin, protection.Protect, h.Call(r)))
	before := p.Inventory()

	for _, tc := range []struct {
		kind          protection.Kind
		share         resource.Resource
		parameters    []string
		class, reason string
	}{
		{protection.Protect, failing, nil, "CreateResourceFailed", "The status of snapshot is error"},
		{protection.Protect, broken, nil, "CreateResourceFailed", "Share is in a error status."},
		{protection.Restore, r, []string{"restore_name", "fail-create"}, "RestoreResourceFailed", "Invalid status."},
	} {
		h.State = &plugintest.State{}
		err := h.Run(ctx, plugin, tc.kind, h.Call(tc.share, tc.parameters...))
		if !fault.Is(err, tc.class) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s of %s: got %v", tc.kind, tc.share.Name, err)
		}
		if diff := cmp.Diff(before, p.Inventory()); diff != "" {
			t.Errorf("%s of %s has left something (-before +after):\n%s", tc.kind, tc.share.Name, diff)
		}
	}

	// A snapshot that cannot be deleted is not taken for deleted.
	p.Update(openstacktest.Share, r.ID, map[string]any{"display_name": "fail-unsnapshot"})
	err := h.Run(ctx, plugin, protection.Delete, h.Call(r))
	if !fault.Is(err, "DeleteResourceFailed") || !strings.Contains(err.Error(), "status is error_deleting") {
		t.Errorf("delete: got %v", err)
	}
}

// TestRealSurvives kills the plugin before a real Manila: at one call of a protect
// and a restore, or with KARBOR_TEST_FAILPOINTS=all at a few of every operation.
func TestRealSurvives(t *testing.T) {
	t.Parallel()
	newRealProject(t) // or skip
	options := plugintest.Options{Cuts: 1, Twice: 1, Kinds: []protection.Kind{protection.Protect, protection.Restore}}
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == "all" {
		options = plugintest.Options{Cuts: 4, Twice: 1}
	}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		p := newRealProject(t)
		return &plugintest.World{
			Service:    service{p},
			Resource:   newRealShare(t, p, "home"),
			Caller:     p.Caller,
			Lags:       true,
			Parameters: map[protection.Kind]protection.Parameters{protection.Restore: {"restore_name": []byte(`"restored"`)}},
			Plugin: func(process *plugintest.Process) protection.Plugin {
				return New(poll.Config{PollInterval: 300 * time.Millisecond}, p.Wrapped(process.Transport))
			},
		}
	})
}

// service is a project as plugintest sees it.
type service struct{ *openstacktest.RealProject }

var ids = regexp.MustCompile(` [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Inventory implements plugintest.Service.
func (s service) Inventory(context.Context) ([]string, error) {
	lines := s.RealProject.Inventory()
	for i, line := range lines {
		lines[i] = ids.ReplaceAllString(line, "")
	}
	return lines, nil
}
