// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var volume = resource.Resource{Type: resource.Volume, ID: "v1", Name: "vol"}

func TestErrorStatusAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause error
		want  string
	}{
		"stopped":    {errors.New("stopping"), "error"},
		"lease lost": {fmt.Errorf("owner: %w", bank.ErrLeaseNotHeld), "protecting"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.New(t)
			c := h.Call(volume)
			if err := c.PutStatus(t.Context(), protection.StatusProtecting); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(tc.cause)
			c.PutError(ctx)
			if got := h.Text(volume, "status"); got != tc.want {
				t.Errorf("status is %s, not %s", got, tc.want)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	var p protection.Parameters
	if err := json.Unmarshal([]byte(`{"s": "text", "n": 5, "b": true, "py": "False", "null": null, "o": {}}`), &p); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s": "text", "n": "5", "b": "true", "py": "False"} {
		if got, ok := p.String(name); got != want || !ok {
			t.Errorf("%s is %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"null", "o", "absent"} {
		if got, ok := p.String(name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
	if v, ok := p.Bool("b"); !v || !ok {
		t.Error("true is not true")
	}
	if v, ok := p.Bool("py"); v || !ok {
		t.Error("False is not false")
	}
	if _, ok := p.Bool("s"); ok {
		t.Error("text is a boolean")
	}
	merged := p.Overlay(protection.Parameters{"s": json.RawMessage(`"other"`)})
	if got, _ := merged.String("s"); got != "other" || len(merged) != len(p) {
		t.Errorf("merged to %v", merged)
	}
	if got, _ := p.String("s"); got != "text" {
		t.Error("the overlay changed what it lies over")
	}
}

func TestNewResources(t *testing.T) {
	t.Parallel()
	var none *protection.NewResources
	none.Set("a", "b")
	if _, ok := none.Get("a"); ok || none.All() != nil {
		t.Error("nil keeps something")
	}
	n := &protection.NewResources{}
	n.Set("a", "b")
	if got, ok := n.Get("a"); got != "b" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	type state struct{ ID string }
	h := plugintest.New(t)
	c := h.Call(volume)
	got := state{"before"}
	if err := c.LoadState(t.Context(), &got); err != nil || got.ID != "before" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := c.SaveState(t.Context(), state{"x"}); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadState(t.Context(), &got); err != nil || got.ID != "x" {
		t.Errorf("got %v, %v", got, err)
	}
	c.State, c.Status = nil, nil
	if err := errors.Join(c.SaveState(t.Context(), got), c.LoadState(t.Context(), &got), c.UpdateStatus(t.Context(), "i", "s", "")); err != nil {
		t.Error(err)
	}
}

func TestRegistryRefusesAName(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	build := func(*config.Config, protection.Deps) (protection.Plugin, error) { return nil, nil }
	r.Register([]string{"a", "b"}, nil, build)
	if _, err := r.Lookup("c"); err == nil {
		t.Error("an unknown name was found")
	}
	if e, err := r.Lookup("b"); err != nil || e.Names[0] != "a" || len(r.Entries()) != 1 {
		t.Errorf("got %v, %v", e, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was taken twice")
		}
	}()
	r.Register([]string{"b"}, nil, build)
}
