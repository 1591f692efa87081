// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// depot is a service that keeps things under ids of its own.
type depot struct {
	server *httptest.Server

	mu     sync.Mutex
	things map[string]string // id to name
	last   int
}

func newDepot(t testing.TB) *depot {
	t.Helper()
	d := &depot{things: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_ = json.NewEncoder(w).Encode(d.things)
	})
	mux.HandleFunc("POST /things", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.last++
		id := fmt.Sprint("thing-", d.last)
		d.things[id] = r.FormValue("name")
		fmt.Fprint(w, id)
	})
	mux.HandleFunc("DELETE /things", func(_ http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.things, r.FormValue("id"))
	})
	d.server = httptest.NewServer(mux)
	t.Cleanup(d.server.Close)
	return d
}

func (d *depot) Inventory(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, name := range d.things {
		names = append(names, strings.SplitN(name, " ", 2)[0]) // without the checkpoint's id
	}
	return names, nil
}

// defect is what is wrong with a keeper.
type defect string

const (
	none          defect = "none"
	createsTwice  defect = "creates again when it is entered again"
	removesAlways defect = "removes what it made also when the work is handed over"
	writesLate    defect = "writes an error status also when the work is handed over"
	leaks         defect = "leaves what it made when it is cancelled"
	undoesNothing defect = "has no undo"
	forgetsOne    defect = "undoes what it knows the id of"
	hidesTheCause defect = "fails without the cause"
)

// keeper is a plugin that keeps a copy of each resource in a depot.
type keeper struct {
	depot  *depot
	client *http.Client
	defect defect
}

func (keeper) Types() []string                   { return []string{resource.Volume} }
func (keeper) Schemas(string) protection.Schemas { return protection.Schemas{} }

func (k keeper) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{PrepareBegin: k.announce, Main: k.keep}, nil
	case protection.Restore:
		o := &protection.Operation{Main: k.restore, Undo: k.drop("restored")}
		if k.defect == undoesNothing {
			o.Undo = nil
		}
		return o, nil
	case protection.Delete:
		return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
			if err := k.drop("kept")(ctx, c); err != nil {
				return err
			}
			return hook.Frame{Title: "Kept Thing"}.Delete(hook.Purge())(ctx, c)
		}}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

func (keeper) announce(ctx context.Context, c *protection.Call) error {
	return c.PutStatus(ctx, protection.StatusProtecting)
}

func (k keeper) keep(ctx context.Context, c *protection.Call) error {
	err := k.make(ctx, c, "kept")
	if err == nil {
		err = c.Section.PutText(ctx, protection.MetadataKey, "{}")
	}
	if err == nil {
		err = c.PutStatus(ctx, protection.StatusAvailable)
	}
	return k.end(ctx, c, "kept", err)
}

func (k keeper) restore(ctx context.Context, c *protection.Call) error {
	err := k.make(ctx, c, "restored")
	if err == nil {
		err = c.UpdateStatus(ctx, c.Resource.ID, protection.StatusAvailable, "")
	}
	if err == nil {
		c.NewResources.Set(c.Resource.ID, "restored")
	}
	return k.end(ctx, c, "restored", err)
}

// end puts in order what a failure leaves.
func (k keeper) end(ctx context.Context, c *protection.Call, what string, err error) error {
	if err == nil {
		return nil
	}
	after, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	again := protection.Handover(ctx, err)
	if again != nil {
		switch k.defect {
		case removesAlways:
			_ = k.drop(what)(after, c)
		case writesLate:
			_ = c.PutStatus(after, protection.StatusError)
		}
		return again
	}
	if k.defect != leaks {
		err = errors.Join(err, k.drop(what)(after, c))
	}
	if k.defect == hidesTheCause {
		return errors.New("it failed")
	}
	return protection.Because(ctx, err)
}

func name(c *protection.Call, what string) string { return what + " " + c.Checkpoint.ID() }

func (k keeper) make(ctx context.Context, c *protection.Call, what string) error {
	things, err := k.things(ctx)
	if err != nil {
		return err
	}
	if k.defect != createsTwice {
		for _, there := range things {
			if there == name(c, what) {
				return nil
			}
		}
	}
	var id string
	if err := k.ask(ctx, http.MethodPost, "name="+strings.ReplaceAll(name(c, what), " ", "+"), func(r *http.Response) error {
		_, err := fmt.Fscan(r.Body, &id)
		return err
	}); err != nil {
		return err
	}
	return c.SaveState(ctx, id)
}

// drop removes all things of the operation.
func (k keeper) drop(what string) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		things, err := k.things(ctx)
		if err != nil {
			return err
		}
		if k.defect == forgetsOne {
			var id string
			if err := c.LoadState(ctx, &id); err != nil || id == "" {
				return err
			}
			things = map[string]string{id: name(c, what)}
		}
		for id, there := range things {
			if there != name(c, what) {
				continue
			}
			if err := k.ask(ctx, http.MethodDelete, "id="+id, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

func (k keeper) things(ctx context.Context) (things map[string]string, err error) {
	err = k.ask(ctx, http.MethodGet, "", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&things) })
	return things, err
}

func (k keeper) ask(ctx context.Context, method, query string, read func(*http.Response) error) error {
	r, err := http.NewRequestWithContext(ctx, method, k.depot.server.URL+"/things?"+query, nil)
	if err != nil {
		return err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if read == nil {
		return nil
	}
	return read(answer)
}

func keeperWith(d defect) func(t testing.TB) *World {
	return func(t testing.TB) *World {
		t.Helper()
		service := newDepot(t)
		return &World{
			Service:  service,
			Resource: resource.Resource{Type: resource.Volume, ID: "v1"},
			Plugin: func(p *Process) protection.Plugin {
				return keeper{service, &http.Client{Transport: p.Transport(service.server.Client().Transport)}, d}
			},
		}
	}
}

func TestSurviveOfASoundPlugin(t *testing.T) {
	t.Parallel()
	Survive(t, Options{}, keeperWith(none))
}

// The suite finds every defect, and finds it where it is.
func TestSurviveFinds(t *testing.T) {
	t.Parallel()
	for d, want := range map[defect]string{
		none:          "",
		createsTwice:  "other than undisturbed",
		removesAlways: "after it was handed over it still did",
		writesLate:    "after it was handed over it still did: put",
		leaks:         "the hook was cancelled: the service holds something else",
		undoesNothing: "restore: undisturbed then undone: after undo",
		forgetsOne:    "then undone: after undo: the service holds something else",
		hidesTheCause: "the error does not wrap ErrCancelled",
	} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			found := findings(t, keeperWith(d))
			if d == none && found != "" {
				t.Errorf("a sound plugin has\n%s", found)
			}
			if !strings.Contains(found, want) {
				t.Errorf("%q is not among\n%s", want, found)
			}
		})
	}
}

// findings runs all trials and returns what they say.
func findings(t *testing.T, build func(testing.TB) *World) string {
	t.Helper()
	var text strings.Builder
	for _, kind := range kinds(t, Options{}, build) {
		reference, err := observe(t, kind, build)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, trial := range reference.trials(Options{Twice: 5}) {
			if err := trial.run(t, build); err != nil {
				fmt.Fprintf(&text, "%s: %s: %v\n", kind, trial.name, err)
			}
		}
	}
	return text.String()
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n, limit int
		want     string
	}{{3, 0, "[1 2 3]"}, {10, 3, "[1 5 10]"}, {1, 4, "[1]"}, {0, 4, "[]"}, {5, 1, "[1]"}} {
		if got := fmt.Sprint(spread(tc.n, tc.limit)); got != tc.want {
			t.Errorf("%d of %d: %s, not %s", tc.limit, tc.n, got, tc.want)
		}
	}
}
