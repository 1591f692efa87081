// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

func TestSpoiledConformance(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	answered := func(do func(http.ResponseWriter, *http.Request) bool) banktest.Spoil {
		return func(_ *testing.T, key string) func() { return f.last(key, do) }
	}
	spoils := map[string]banktest.Spoil{
		"wrong checksum": answered(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				return false
			}
			w.Header().Set("Etag", etag([]byte("another")))
			_, _ = w.Write([]byte("this"))
			return true
		}),
	}
	for _, code := range []int{400, 403, 405, 406, 409, 410, 412, 414, 416, 422, 451} {
		spoils[strconv.Itoa(code)] = answered(status(code))
	}
	spoils["breaks off"] = func(_ *testing.T, key string) func() {
		return f.last(key, func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodGet && truncate(w, r, f, key)
		})
	}
	outages := map[string]banktest.Break{}
	for name, do := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"401": status(401), "403": status(403), "503": status(503), "507": status(507), "500": status(500), "dropped": drop,
	} {
		outages[name] = func(*testing.T, bank.Plugin) func() { return f.last("/v1/AUTH_project/karbor", do) }
	}
	outages["Keystone"] = func(*testing.T, bank.Plugin) func() {
		return f.last("/", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
	}
	banktest.Run(t, func(t *testing.T) bank.Plugin { return newStore(t, config(f)) },
		banktest.Many(50), banktest.Spoils(spoils), banktest.Breaks(outages))
}

// Objects that fail with an error of the server, while the container can be listed:
// all of their servers may be down.
func TestServerErrorsAreOutages(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	if err := put(t, p, "/s/a", "x"); err != nil {
		t.Fatal(err)
	}
	f.last("/karbor//s/a", status(http.StatusServiceUnavailable))
	if _, err := get(t, p, "/s/a"); err == nil || errors.Is(err, bank.ErrUnusable) {
		t.Errorf("get gives %v", err)
	}
	if keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/s/"}); len(keys) != 1 || err != nil {
		t.Errorf("listed %q, %v", keys, err)
	}
}

// Names with line feeds in them, which no key has, are neither taken for keys nor do
// they let a listing stand still.
func TestNamesWithLineFeeds(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.PageSize = 2
	p := newStore(t, cfg)
	for _, name := range []string{"/s/a", "/s/b\n/s/0", "/s/b\n/x", "/s/c\r", "/s/d\n", "/s/e"} {
		if err := put(t, p, name, "x"); err != nil {
			t.Fatal(err)
		}
	}
	section, err := bank.New(p, nil).Section("/s")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []bank.ListOptions{{}, {Limit: 2}, {Descending: true}} {
		keys, err := section.List(t.Context(), o)
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"a", "e"}) || err != nil {
			t.Errorf("%+v: %q, %v", o, keys, err)
		}
	}
}
