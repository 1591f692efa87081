// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
)

// A Keystone or Swift that repeats what it was sent in its errors does not make the
// bank's errors tell its password and token, whoever looks into their chain.
func TestErrorsTellNoSecret(t *testing.T) {
	t.Parallel()
	const password = `p<a"ss&word`
	echo := func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Trans-Id", "tx "+r.Header.Get("X-Auth-Token"))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "refused: %v %s %s", r.Header, body, password)
		return true
	}
	for _, tc := range []struct{ method, part string }{{"POST", "auth/tokens"}, {"GET", "//a"}} {
		f := newFake(t)
		cfg := config(f)
		if tc.method == "POST" { // the fake knows the usual password
			cfg.Key = password
		}
		p := newStore(t, cfg)
		f.fail(1, tc.method, tc.part, echo)
		_, err := get(t, p, "/a")
		if err == nil {
			t.Fatalf("%s %s: no error", tc.method, tc.part)
		}
		text := fmt.Sprintf("%v %+v", err, err)
		var answer gophercloud.ErrUnexpectedResponseCode
		if errors.As(err, &answer) {
			text += string(answer.Body)
		}
		for _, secret := range []string{"ss&word", `ss\u0026word`, "token-"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s %s: %s", tc.method, tc.part, text)
			}
		}
	}
}
