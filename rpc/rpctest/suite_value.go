// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func checkValues(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"raw": func(_ context.Context, r *rpc.Request) (any, error) { return r.Args["x"], nil },
		"any": func(_ context.Context, r *rpc.Request) (any, error) {
			var x any
			err := r.Unpack(rpc.Required("x", &x))
			return x, err
		},
	}))
	for _, text := range []string{"9007199254740993", "123456789012345678901234567890", "-1.5e-7", `"\"é☃😀\\\u0000\u2028<>&"`, `[[], {}, "", null, true]`} {
		for _, method := range []string{"raw", "any"} {
			var got json.RawMessage
			if err := h.client(rpc.ClientOptions{}).Call(h.ctx, nil, method, map[string]any{"x": json.RawMessage(text)}, &got); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if !sameJSON(t, text, string(got)) {
				t.Errorf("%s of %s came back as %s", method, text, got)
			}
		}
	}
}

// sameJSON compares two JSON texts, with numbers compared literally.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var v [2]any
	for i, text := range []string{a, b} {
		d := json.NewDecoder(bytes.NewReader([]byte(text)))
		d.UseNumber()
		if err := d.Decode(&v[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return cmp.Equal(v[0], v[1])
}
