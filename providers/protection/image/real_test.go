// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/bank/swift"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	imageprotectable "github.com/karbor-project/karbor/providers/protectable/image"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// TestReal takes images of a real Glance through a bank and back: its public
// ones, and one of KARBOR_TEST_IMAGE_MIB (20) that is made for it.
func TestReal(t *testing.T) {
	t.Run("filesystem", func(t *testing.T) {
		roundTrip(t, func() (bank.Plugin, error) {
			return filesystem.New(filesystem.Config{Path: t.TempDir(), Container: "karbor"}, nil)
		})
	})
	t.Run("swift", func(t *testing.T) {
		roundTrip(t, openSwift, "KARBOR_TEST_SWIFT")
	})
}

func openSwift() (bank.Plugin, error) {
	return swift.New(swift.Config{
		AuthURL: os.Getenv("KARBOR_TEST_KEYSTONE"), User: "karbor", Key: "password", Tenant: "service",
		ProjectDomainName: "Default", UserDomainName: "Default", Container: "karbor-image-test",
		RetryAttempts: 3, RetryBackoff: time.Second,
	}, nil)
}

// TestRealSurvives kills the plugin between a real Glance and a real Swift: at a
// few calls, or with KARBOR_TEST_FAILPOINTS=all at more, in every operation.
func TestRealSurvives(t *testing.T) {
	f, ctx := openstacktest.Real(t, "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	client, err := f.Image(ctx)
	must(t, err)
	options := plugintest.Options{Cuts: 1, Twice: 1, Kinds: []protection.Kind{protection.Protect, protection.Restore}}
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == "all" {
		options = plugintest.Options{Cuts: 2, Twice: 1}
	}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		store, err := openSwift()
		must(t, err)
		t.Cleanup(func() { _ = store.Close() })
		// The images of this world, and of no other, have this in their names.
		mark := uuid.NewString()
		restoreName, err := json.Marshal("restored " + mark)
		must(t, err)
		return &plugintest.World{
			Service:    marked{client, mark},
			Resource:   resource.Resource{Type: resource.Image, ID: upload(ctx, t, client, "source "+mark, pieceSize+5), Name: "source"},
			Caller:     requestcontext.From(ctx),
			Bank:       store,
			Lags:       true,
			Parameters: map[protection.Kind]protection.Parameters{protection.Restore: {"restore_name": restoreName}},
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return New(Config{Config: poll.Config{PollInterval: 100 * time.Millisecond}, ObjectSize: pieceSize, ServerSnapshot: true}, f.Wrapped(p.Transport))
			},
		}
	})
}

// marked shows the images of a Glance with a mark in their names.
type marked struct {
	client *gophercloud.ServiceClient
	mark   string
}

func (m marked) Inventory(ctx context.Context) ([]string, error) {
	images, err := openstack.List[struct {
		Name, Status string
		Size         int64
	}](ctx, m.client, "images", "images", nil)
	var there []string
	for _, i := range images {
		if name, ours := strings.CutSuffix(i.Name, " "+m.mark); ours {
			there = append(there, fmt.Sprintf("%s, %s, %d bytes", name, i.Status, i.Size))
		}
	}
	return there, err
}

func roundTrip(t *testing.T, open func() (bank.Plugin, error), need ...string) {
	f, ctx := openstacktest.Real(t, append(need, "KARBOR_TEST_GLANCE")...)
	store, err := open()
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	client, err := f.Image(ctx)
	must(t, err)
	large := upload(ctx, t, client, "large", size(t))

	listed, err := imageprotectable.New(f).List(ctx, nil)
	must(t, err)
	p := New(Config{Config: poll.Config{PollInterval: time.Second}, ObjectSize: 10 * pieceSize, ServerSnapshot: true}, f)
	for _, r := range listed {
		if r.Name != "tiny" && r.ID != large {
			continue
		}
		t.Run(r.Name, func(t *testing.T) { oneRoundTrip(ctx, t, p, store, r) })
	}
}

func oneRoundTrip(ctx context.Context, t *testing.T, p *Plugin, store bank.Plugin, r resource.Resource) {
	h := plugintest.Over(t, store)
	before, began := memory(), time.Now()
	must(t, h.Run(ctx, p, protection.Protect, h.Call(r)))
	protected := time.Since(began)
	t.Logf("protect: %s, %d KiB allocated\n%s", protected, (memory()-before)>>10, h.Text(r, "metadata"))
	must(t, h.Run(ctx, p, protection.Verify, h.Call(r)))

	before, began = memory(), time.Now()
	must(t, h.Run(ctx, p, protection.Restore, h.Call(r, "restore_name", "restored")))
	t.Logf("restore: %s, %d KiB allocated", time.Since(began), (memory()-before)>>10)
	id, _ := h.NewResources.Get(r.ID)
	glance, err := p.glance.For(ctx)
	must(t, err)
	defer func() { must(t, glance.Remove(context.WithoutCancel(ctx), id)) }()
	original, err := glance.Image(ctx, r.ID)
	must(t, err)
	restored, err := glance.Image(ctx, id)
	must(t, err)
	if restored.Status != "active" || !restored.Holds(original.Checksum) || *restored.HashValue != *original.HashValue {
		t.Errorf("restored %+v\noriginal %+v", restored, original)
	}

	must(t, h.Run(ctx, p, protection.Delete, h.Call(r)))
	for _, key := range []string{"data_1", "metadata"} { // not by a listing, which may lag behind
		if _, err := h.Call(r).Section.GetBytes(ctx, key); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("%s after the delete: %v", key, err)
		}
	}
	for _, status := range []checkpoint.Status{checkpoint.Available, checkpoint.Deleting} {
		must(t, h.Checkpoint.SetStatus(status))
		must(t, h.Checkpoint.Commit(ctx))
	}
	must(t, h.Checkpoint.Delete(ctx))
}

func size(t *testing.T) int64 {
	t.Helper()
	mib := 20
	if text := os.Getenv("KARBOR_TEST_IMAGE_MIB"); text != "" {
		var err error
		mib, err = strconv.Atoi(text)
		must(t, err)
	}
	return int64(mib) << 20
}

// upload makes an image of noise that lives as long as the test.
func upload(ctx context.Context, t testing.TB, client *gophercloud.ServiceClient, name string, size int64) string {
	t.Helper()
	id := uuid.NewString()
	body := map[string]any{"id": id, "name": name, "disk_format": "raw", "container_format": "bare"}
	_, err := client.Post(ctx, client.ServiceURL("images"), body, nil, nil)
	must(t, err)
	t.Cleanup(func() {
		_, err := client.Delete(context.WithoutCancel(ctx), client.ServiceURL("images", id), nil)
		must(t, err)
	})
	_, err = client.Put(ctx, client.ServiceURL("images", id, "file"), io.LimitReader(rand.NewChaCha8([32]byte{}), size), nil, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"}, OkCodes: []int{http.StatusNoContent},
	})
	must(t, err)
	return id
}

// memory returns what was allocated so far, freed or not.
func memory() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}
