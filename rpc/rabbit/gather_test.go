// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

func TestGathererKeepsOrderAndFlushes(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	g := newGatherer(a)
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
	g := newGatherer(a)
	_ = b.Close()
	block := make([]byte, 2*gatherLimit)
	var err error
	// The second write waits for the first one, whose failure ends both.
	for i := 0; i < 3 && err == nil; i++ {
		_, err = g.Write(block)
	}
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
	_ = g.Close()
}
