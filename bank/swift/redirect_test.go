// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/pkg/httpclient"
)

// TestRedirectIsRefused has Keystone or Swift redirect to somebody else. Neither the
// password nor the token nor what is stored goes there, and nothing is tried again.
func TestRedirectIsRefused(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int64
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	t.Cleanup(stranger.Close)
	away := func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, stranger.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	for _, tc := range []struct{ method, part string }{{"POST", "auth/tokens"}, {"GET", "//a"}, {"PUT", "//a"}, {"DELETE", "//a"}} {
		f := newFake(t)
		p := newStore(t, config(f))
		f.fail(1, tc.method, tc.part, away)
		var err error
		switch tc.method {
		case "GET":
			_, err = get(t, p, "/a")
		case "DELETE":
			err = p.Delete(t.Context(), "/a")
		default:
			err = put(t, p, "/a", "x")
		}
		var refused *httpclient.RedirectError
		if !errors.As(err, &refused) || refused.To == refused.From {
			t.Errorf("%s %s: %v", tc.method, tc.part, err)
		}
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("somebody else got %d requests", n)
	}
}
