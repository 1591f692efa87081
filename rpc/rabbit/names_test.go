// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func TestChecklist62_QueueManagerNames(t *testing.T) {
	t.Parallel()
	name, folder := "test"+rpc.NewID(), t.TempDir()
	a, err := newNameCounter(folder, "host/a", name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newNameCounter(folder, "host/a", name)
	if err != nil {
		t.Fatal(err)
	}
	defer b.release()
	first := []string{a.next(), a.next()}
	if first[0] != "host/a:"+name+":1" || first[0] == first[1] || b.next() == first[0] {
		t.Error(first)
	}
	a.release()
	c, err := newNameCounter(folder, "host/a", name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	if diff := cmp.Diff(first, []string{c.next(), c.next()}); diff != "" {
		t.Error("a restarted process finds other names: " + diff)
	}
}

func TestQueueManagerWithoutAFolder(t *testing.T) {
	t.Parallel()
	_, err := newNameCounter(filepath.Join(t.TempDir(), "none"), "h", "p")
	if err == nil || !strings.Contains(err.Error(), "use_queue_manager") {
		t.Errorf("error is %v", err)
	}
}

// managed are transports with the queue manager, each of which sees no lock of the
// others, like processes in containers of one host name.
func managed(t *testing.T, count int) []*Transport {
	t.Helper()
	address := os.Getenv("RABBIT_URL")
	if address == "" {
		t.Skip("RABBIT_URL is not set: this test needs a RabbitMQ")
	}
	o := DefaultOptions()
	o.UseQueueManager, o.ProcessName, o.TransientQueuesTTL = true, "p"+rpc.NewID(), 60
	all := make([]*Transport, count)
	for i := range all {
		tr, err := New(mustParse(t, address), o, rpc.OrDiscard(nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tr.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		if tr.names, err = newNameCounter(t.TempDir(), o.Hostname, o.ProcessName); err != nil {
			t.Fatal(err)
		}
		all[i] = tr
	}
	return all
}

// Processes that know nothing of each other and start at the same moment get queues
// of their own, each of which finds its own answers.
func TestQueueManagerNamesAcrossFolders(t *testing.T) {
	t.Parallel()
	target := rpc.Target{Topic: "q" + rpc.NewID()[:10], Server: "one"}
	all := managed(t, 6)
	s, err := rpc.NewServer(all[0], target, []rpc.Endpoint{{Methods: map[string]rpc.Method{
		"m": {Handler: func(_ context.Context, r *rpc.Request) (any, error) { return r.Args["n"], nil }},
	}}}, rpc.ServerOptions{})
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}()
	names := make([]string, len(all))
	var starting sync.WaitGroup
	for i, tr := range all {
		starting.Go(func() {
			r, err := tr.Replies(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			names[i] = r.Queue()
		})
	}
	starting.Wait()
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(all) {
		t.Errorf("reply queues %q", names)
	}
	var calling sync.WaitGroup
	for i := range 10 * len(all) {
		calling.Go(func() {
			var n int
			c := rpc.NewClient(all[i%len(all)], rpc.Target{Topic: target.Topic}, rpc.ClientOptions{})
			if err := c.Call(t.Context(), nil, "m", map[string]any{"n": i}, &n); err != nil || n != i {
				t.Errorf("call %d: %d, %v", i, n, err)
			}
		})
	}
	calling.Wait()
}
