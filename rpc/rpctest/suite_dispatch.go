// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func checkVersions(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("1.5", map[string]rpc.Handler{"none": returns(nil)}))
	for _, v := range []string{"", `, "version": "1.0"`, `, "version": "1.4.9"`, `, "version": "1.5"`, `, "version": "1.5.0"`, `, "namespace": null`} {
		if r := h.answer(h.ask(`"method": "none"` + v)); r.Failure != nil {
			t.Errorf("%q: failure %s", v, *r.Failure)
		}
	}
	for _, v := range []string{"1.5.1", "1.6", "2.0"} {
		want := failure{
			Class: "UnsupportedVersion", Module: "oslo_messaging.rpc.dispatcher",
			Message: "Endpoint does not support RPC version " + v + ". Attempted method: none",
			TB:      []string{}, Args: []any{"Endpoint does not support RPC version " + v + ". Attempted method: none"}, Kwargs: map[string]any{},
		}
		if diff := cmp.Diff(want, h.failed(h.ask(`"method": "none", "version": "`+v+`"`))); diff != "" {
			t.Errorf("version %s: %s", v, diff)
		}
	}
	for members, message := range map[string]string{
		`"method": "none", "version": null`:      "Endpoint does not support RPC version None. Attempted method: none",
		`"method": "none", "namespace": ""`:      "Endpoint does not support RPC version 1.0. Attempted method: none",
		`"method": "none", "namespace": "other"`: "Endpoint does not support RPC version 1.0. Attempted method: none",
	} {
		if f := h.failed(h.ask(members)); f.Message != message || f.Class != "UnsupportedVersion" {
			t.Errorf("%s: %+v", members, f)
		}
	}
}

func checkNoSuchMethod(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{},
		methods("1.0", map[string]rpc.Handler{"a": returns("first"), "_private": returns(1)}),
		methods("1.3", map[string]rpc.Handler{"a": returns("second"), "b": returns("b")}),
		rpc.Endpoint{Namespace: "backup", Version: "2.0", Methods: map[string]rpc.Method{"a": {Handler: returns("backup")}}})
	for members, want := range map[string]string{
		`"method": "a"`:                   "first",
		`"method": "a", "version": "1.2"`: "second",
		`"method": "b"`:                   "b",
		`"method": "a", "version": "2.0", "namespace": "backup"`: "backup",
	} {
		if r := h.answer(h.ask(members)); r.Result != want {
			t.Errorf("%s: %+v", members, r)
		}
	}
	for _, name := range []string{"nosuch", "_private"} {
		f := h.failed(h.ask(`"method": "` + name + `"`))
		if f.Class != "NoSuchMethod" || f.Module != "oslo_messaging.rpc.dispatcher" || f.Message != "Endpoint does not support RPC method "+name {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func checkBadArguments(t *testing.T, h *harness) {
	h.serve(rpc.ServerOptions{}, methods("", map[string]rpc.Handler{
		"none": func(_ context.Context, r *rpc.Request) (any, error) { return nil, r.Unpack() },
		"one": func(_ context.Context, r *rpc.Request) (any, error) {
			var x int
			return x, r.Unpack(rpc.Required("x", &x))
		},
		"panics": func(context.Context, *rpc.Request) (any, error) { panic("at the handler") },
	}))
	for members, class := range map[string]string{
		`"args": {}`:                                "TypeError",
		`"method": null`:                            "TypeError",
		`"method": "none", "args": null`:            "AttributeError",
		`"method": "none", "args": [1]`:             "AttributeError",
		`"method": "none", "args": {"zzz": 1}`:      "TypeError",
		`"method": "one", "args": {}`:               "TypeError",
		`"method": "one", "args": {"x": "text"}`:    "TypeError",
		`"method": "none", "version": "1"`:          "ValueError",
		`"method": "none", "version": 1`:            "AttributeError",
		`"method": "none", "version": "abc"`:        "ValueError",
		`"method": "none", "version": "1.x"`:        "ValueError",
		`"method": "none", "namespace": {"a": "b"}`: "TypeError",
		`"method": "panics"`:                        "RuntimeError",
	} {
		f := h.failed(h.ask(members))
		if f.Class != class || f.Module != "builtins" || f.Message == "" {
			t.Errorf("%s: %+v", members, f)
		}
	}
	if r := h.answer(h.ask(`"method": "none"`)); r.Failure != nil {
		t.Errorf("absent args: %s", *r.Failure)
	}
}
