// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestGathererKeepsOrderAndFlushes(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	g := newBatchingConn(a)
	var want bytes.Buffer
	for i := range 1000 {
		p := fmt.Appendf(nil, "message %d;", i)
		want.Write(p)
		if n, err := g.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		clear(p) // the writer may use its buffer again
	}
	read := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(b)
		read <- text
	}()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if got := <-read; !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes arrived, want %d", len(got), want.Len())
	}
	if _, err := g.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := g.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}

func TestGathererReportsErrors(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	g := newBatchingConn(a)
	_ = b.Close()
	// The failure of a write is that of the later ones, and ends the wait for room.
	var err error
	for err == nil {
		_, err = g.Write(make([]byte, batchLimit))
		runtime.Gosched()
	}
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
	_ = g.Close()
}

// What waits for room ends with its context, and goes on when the peer reads.
func TestGathererHoldsPublishersUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		g := newBatchingConn(a)
		for range 2 {
			if err := g.waitForRoom(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, _ = g.Write(make([]byte, 2*batchLimit)) // the first is on its way
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.waitForRoom(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		roomy := make(chan error, 1)
		go func() { roomy <- g.waitForRoom(t.Context()) }()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		if err := <-roomy; err != nil {
			t.Error(err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}
