// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

// What the Go client compresses, signs in with AMQPLAIN to send and marks with
// headers of its own means to a Python server what it always did.
func TestChecklist62_PythonReadsCompressedRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clean(l.topic, l.topic+".one")
	l.start("server.py", l.url, l.topic, "one")
	trace := func(context.Context) map[string]string {
		return map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	}
	c := l.client(rpc.ClientOptions{Headers: trace}, "kombu_compression=gzip", "rabbit_login_method=AMQPLAIN")
	var got struct{ KW map[string]string }
	if err := c.Call(l.ctx, nil, "echo", map[string]any{"a": "é☃"}, &got); err != nil || got.KW["a"] != "é☃" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestChecklist62_PythonReadsCompressedReplies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.goserver("one", "--option", "kombu_compression=gzip", "--option", "use_queue_manager=true", "--option", "processname="+l.topic)
	c := l.start("client.py", l.url, l.topic, "kombu_compression=gzip")
	wantResult(t, c.do(command{Method: "echo", KW: map[string]any{"a": "b"}}), map[string]any{
		"ctxt": map[string]any{"client_timeout": nil}, "kw": map[string]any{"a": "b"},
	})
}
