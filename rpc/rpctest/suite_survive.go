// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// surviveChecks cover handlers that fail in ways that usually end a Go program.
var surviveChecks = []check{
	{"Survive_HandlersThatBreak", checkBreaking},
	{"Survive_FailuresThatBreak", checkBreakingFailures},
	{"Survive_MappingsThatBreak", checkBreakingMapping},
	{"Survive_MiddlewareThatBreaks", checkBreakingMiddleware},
	{"Survive_HugeFailures", checkHugeFailures},
	{"Survive_DeepRequests", checkDeepRequests},
	{"Survive_ArgumentsThatBreak", checkBreakingArguments},
}

// bomb panics when it is encoded.
type bomb struct{}

func (*bomb) MarshalJSON() ([]byte, error) { panic("boom") }

// exit ends its goroutine when it is encoded.
type exit struct{}

func (exit) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

// chain is a value that nests once for each of its elements.
type chain struct{ Next *chain }

func longChain(n int) *chain {
	var c *chain
	for range n {
		c = &chain{c}
	}
	return c
}

func cyclicMap() map[string]any {
	m := map[string]any{"text": "x"}
	m["self"] = m
	m["list"] = []any{m}
	return m
}

// shared is a value that is small in memory and endless as text.
func shared() any {
	var v any = "x"
	for range 100 {
		v = []any{v, v}
	}
	return v
}

// nestedJSON returns a value with the given number of levels.
func nestedJSON(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

// silentError is an error whose Error method panics.
type silentError struct{}

func (*silentError) Error() string { panic("no text") }

// brokenRemote is a RemoteError that panics in Args.
type brokenRemote struct{ remoteError }

func (brokenRemote) Args() []any { panic("no arguments") }

func fails(err error) rpc.Handler {
	return func(context.Context, *rpc.Request) (any, error) { return nil, err }
}

func panics(v any) rpc.Handler {
	return func(context.Context, *rpc.Request) (any, error) { panic(v) }
}

func loopingError() error {
	var cycle any
	cycle = map[string]any{"err": &cycle}
	return errors.Join(&rpc.PanicError{Value: cycle})
}

func checkBreaking(t *testing.T, h *harness) {
	cycle := []any{nil}
	cycle[0] = cycle
	var pointer any
	pointer = &pointer
	names := h.serveBreaking(rpc.ServerOptions{}, map[string]rpc.Handler{
		"marshalPanic":   returns(&bomb{}),
		"marshalNested":  returns(map[string]any{"a": []any{&bomb{}}}),
		"marshalExit":    returns(exit{}),
		"cyclicMap":      returns(cyclicMap()),
		"cyclicSlice":    returns(cycle),
		"cyclicPointer":  returns(pointer),
		"longChain":      returns(longChain(1 << 20)),
		"chainInAMap":    returns(map[string]any{"chain": longChain(1 << 20)}),
		"shared":         returns(shared()),
		"deepText":       returns(json.RawMessage(nestedJSON(9999))),
		"deepTextInside": returns(map[string]any{"a": json.RawMessage(nestedJSON(9999))}),
		"notANumber":     returns(math.NaN()),
		"encodedNothing": returns(rpc.Encoded("")),
		"encodedNaN":     returns(rpc.Encoded(`{"a": NaN}`)),
		"encodedCut":     returns(rpc.Encoded(`{"a": `)),
		"encodedDeep":    returns(rpc.Encoded(nestedJSON(9999))),
		"rawNothing":     returns(json.RawMessage("")),
		"panicNil":       panics(nil),
		"panicCycle":     panics(cyclicMap()),
		"panicBomb":      panics(&silentError{}),
		"exit":           func(context.Context, *rpc.Request) (any, error) { runtime.Goexit(); return nil, nil },
	})
	for _, name := range names {
		q := h.ask(`"method": "` + name + `"`)
		if f := h.failed(q); f.Class != "RuntimeError" || f.Module != "builtins" || f.Message == "" {
			t.Errorf("%s: %+v", name, f)
		}
		h.alive()
	}
}

func checkBreakingFailures(t *testing.T, h *harness) {
	var noFailure *rpc.Failure
	var noRemote *brokenRemote
	names := h.serveBreaking(rpc.ServerOptions{}, map[string]rpc.Handler{
		"nilFailure":    fails(noFailure),
		"nilRemote":     fails(noRemote),
		"nilInside":     fails(errors.Join(errors.New("x"), noFailure)),
		"noText":        fails(&silentError{}),
		"remoteBreaks":  fails(brokenRemote{}),
		"cyclicArgs":    fails(&rpc.Failure{Class: "RuntimeError", Module: "builtins", Message: "m", Args: []any{cyclicMap()}}),
		"deepArgs":      fails(&rpc.Failure{Class: "RuntimeError", Module: "builtins", Message: "m", Args: []any{longChain(1 << 20)}}),
		"panickingArgs": fails(&rpc.Failure{Class: "RuntimeError", Module: "builtins", Message: "m", Kwargs: map[string]any{"a": &bomb{}}}),
		"cyclicValue":   fails(loopingError()),
	})
	for _, name := range names {
		q := h.ask(`"method": "` + name + `"`)
		if f := h.failed(q); f.Class != "RuntimeError" || f.Module != "builtins" || f.Message == "" {
			t.Errorf("%s: %+v", name, f)
		}
		h.alive()
	}
}

func checkBreakingMapping(t *testing.T, h *harness) {
	names := h.serveBreaking(rpc.ServerOptions{Failure: func(_ context.Context, r *rpc.Request, err error) *rpc.Failure {
		switch strings.TrimPrefix(r.Method, "start-") {
		case "panics":
			panic("no mapping")
		case "exits":
			runtime.Goexit()
			return nil
		default:
			return &rpc.Failure{Class: "RuntimeError", Message: err.Error(), Module: "builtins", Args: []any{cyclicMap()}}
		}
	}}, map[string]rpc.Handler{
		"panics": fails(errors.New("the cause")), "cyclic": fails(errors.New("the cause")), "exits": fails(errors.New("the cause")),
	})
	for _, name := range names {
		q := h.ask(`"method": "` + name + `"`)
		if f := h.failed(q); f.Class != "RuntimeError" || f.Message != "the cause" && !strings.HasSuffix(name, "exits") {
			t.Errorf("%s: %+v", name, f)
		}
		h.alive()
	}
}

func checkBreakingMiddleware(t *testing.T, h *harness) {
	wrap := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (any, error) {
			switch r.Method {
			case "before", "start-before":
				panic("before the handler")
			case "after", "start-after":
				_, _ = next(ctx, r)
				panic("after the handler")
			}
			return next(ctx, r)
		}
	}
	names := h.serveBreaking(rpc.ServerOptions{Middleware: []rpc.Middleware{wrap}}, map[string]rpc.Handler{
		"before": returns(1), "after": returns(1),
	})
	for _, name := range names {
		if f := h.failed(h.ask(`"method": "` + name + `", "_timeout": 2`)); f.Class != "RuntimeError" {
			t.Errorf("%s: %+v", name, f)
		}
		h.alive()
	}
}

// A failure reaches the caller with its class and its code, however long its text.
func checkHugeFailures(t *testing.T, h *harness) {
	huge := strings.Repeat("\"\x01é", 1<<19)
	code := map[string]any{"code": 404}
	names := h.serveBreaking(rpc.ServerOptions{}, map[string]rpc.Handler{
		"message":   fails(&rpc.Failure{Class: "E", Module: "m", Message: huge, Args: []any{huge}, Kwargs: code}),
		"traceback": fails(&rpc.Failure{Class: "E", Module: "m", Message: "x", Traceback: []string{huge}, Kwargs: code}),
		"args":      fails(&rpc.Failure{Class: "E", Module: "m", Message: "x", Args: []any{huge, 1}, Kwargs: code}),
		"kwargs":    fails(&rpc.Failure{Class: "E", Module: "m", Message: "x", Kwargs: map[string]any{"text": huge}}),
	})
	for _, name := range names {
		m, ok := h.Wire.Get(h.ask(`"method": "`+name+`"`), soon)
		if !ok {
			t.Fatalf("%s: no reply", name)
		}
		if len(m.Body) > 8<<20 {
			t.Errorf("%s: a reply of %d bytes", name, len(m.Body))
		}
		var r reply
		var f failure
		if err := json.Unmarshal(h.open(m), &r); err != nil || r.Failure == nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := json.Unmarshal([]byte(*r.Failure), &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Class != "E" || f.Module != "m" || f.Message == "" || !strings.HasSuffix(name, "kwargs") && f.Kwargs["code"] != 404.0 {
			t.Errorf("%s: %s.%s %v", name, f.Module, f.Class, f.Kwargs)
		}
	}
	h.alive()
}

// Requests of any depth are answered, or rejected when no peer accepts them as JSON.
func checkDeepRequests(t *testing.T, h *harness) {
	h.serveBreaking(rpc.ServerOptions{}, map[string]rpc.Handler{
		"any": func(_ context.Context, r *rpc.Request) (any, error) {
			var x any
			err := r.Unpack(rpc.Required("x", &x))
			return x, err
		},
		"raw": func(_ context.Context, r *rpc.Request) (any, error) { return r.Args["x"], nil },
		"all": func(_ context.Context, r *rpc.Request) (any, error) { return r.Context, nil },
	})
	for _, levels := range []int{10, 890, 901, 9990} {
		deep := nestedJSON(levels)
		for _, method := range []string{"any", "raw", "start-any", "start-raw", "all"} {
			q := h.ask(`"method": "` + method + `", "args": {"x": ` + deep + `}, "_context_x": ` + deep)
			if levels < 900 {
				if r := h.answer(q); r.Failure != nil || r.Result == nil {
					t.Errorf("%s of %d levels: %v", method, levels, *r.Failure)
				}
			} else if f := h.failed(q); f.Class != "RuntimeError" {
				t.Errorf("%s of %d levels: %+v", method, levels, f)
			}
		}
	}
	for _, text := range []string{
		`{"method": "next", "args": {"x": ` + nestedJSON(10001) + `}}`,
		`{"method": "next", "args": ` + strings.Repeat(`{"a":`, 1<<20) + `}`,
		nestedJSON(1 << 20), strings.Repeat("[", 1<<20),
	} {
		h.Wire.Put(h.queue(), jsonMessage([]byte(text)))
		h.Wire.Put(h.queue(), jsonMessage(wrapped(text)))
	}
	h.alive()
}

// A request that cannot be encoded fails at the caller before anything is sent.
func checkBreakingArguments(t *testing.T, h *harness) {
	c := h.client(rpc.ClientOptions{})
	h.queue()
	for name, x := range map[string]any{
		"cycle": cyclicMap(), "chain": longChain(1 << 20), "bomb": &bomb{}, "shared": shared(),
		"NaN": math.Inf(1), "deep": json.RawMessage(nestedJSON(9999)), "text": json.RawMessage(""),
	} {
		ctx, cancel := context.WithTimeout(h.ctx, time.Minute)
		call := c.Call(ctx, nil, "m", map[string]any{"x": x}, nil)
		cast := c.Cast(ctx, nil, "m", map[string]any{"x": x})
		cancel()
		if call == nil || errors.Is(call, rpc.ErrTimeout) || cast == nil {
			t.Errorf("%s: %v, %v", name, call, cast)
		}
	}
	if n := h.Wire.Len(h.queue()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
