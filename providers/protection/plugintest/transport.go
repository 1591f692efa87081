// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"io"
	"net/http"
)

// Transport returns a transport whose calls count as the process's. It has the
// signature that openstack.Factory.Wrapped expects.
func (p *Process) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{process: p, next: next}
}

type transport struct {
	process *Process
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper. A call that has begun is done to its
// end, whatever happens to the process meanwhile, so that a test knows whether it
// had an effect; only uploads break off.
func (t *transport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	p, body := t.process, req.Body
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	sent := false
	err = p.call(req.Context(), req.Method+" "+req.URL.Path, !reads, func(n int) error {
		sent = true
		ctx := req.Context()
		uploads := body != nil && body != http.NoBody && req.GetBody == nil
		if !uploads {
			ctx = context.WithoutCancel(ctx)
		}
		again := req.Clone(ctx)
		if uploads {
			p.uploads(n)
			again.Body = &upload{ReadCloser: body, process: p, call: n}
		}
		resp, err = t.next.RoundTrip(again)
		return err
	})
	if !sent && body != nil {
		body.Close()
	}
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	resp.Body = &download{ReadCloser: resp.Body, process: p, ctx: req.Context()}
	return resp, nil
}

// uploads notes that a call is an upload.
func (p *Process) uploads(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream[n] = true
}

// upload is the body of an upload, which ends with its process.
type upload struct {
	io.ReadCloser
	process *Process
	call    int
	read    bool
}

func (u *upload) Read(b []byte) (int, error) {
	if u.read && u.process.is(u.call, during) {
		u.process.fire()
	}
	u.read = true
	if err := u.process.alive(); err != nil {
		return 0, err
	}
	return u.ReadCloser.Read(b)
}

// download is the body of an answer. It ends with its process and its context.
type download struct {
	io.ReadCloser
	process *Process
	ctx     context.Context
}

func (d *download) Read(b []byte) (int, error) {
	if err := d.process.alive(); err != nil {
		return 0, err
	}
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	return d.ReadCloser.Read(b)
}
