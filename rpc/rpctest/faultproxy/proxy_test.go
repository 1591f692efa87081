// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is longer than anything that must happen takes.
const soon = 2 * time.Minute

// upstream echoes, and shows the connections that it has accepted.
type upstream struct {
	net.Listener
	conns chan net.Conn
}

func start(t *testing.T) (*Proxy, *upstream) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{Listener: l, conns: make(chan net.Conn, 10)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.conns <- c
		}
	})
	p, err := Start(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		p.Close()
		_ = l.Close()
		work.Wait()
	})
	return p, u
}

// dial connects by the proxy; far is upstream's end.
func dial(t *testing.T, p *Proxy, u *upstream) (near, far net.Conn) {
	t.Helper()
	near = hang(t, p)
	select {
	case far = <-u.conns:
	case <-time.After(soon):
		t.Fatal("upstream saw no connection")
	}
	t.Cleanup(func() { _ = far.Close() })
	_ = far.SetDeadline(time.Now().Add(soon))
	return near, far
}

// hang connects without waiting for upstream.
func hang(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(soon))
	return c
}

// move sends text from one end to the other.
func move(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q came as %q, %v", text, got, err)
	}
}

func ends(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("reading ends with %v, want %v", err, want)
	}
}

// turnedAway wants a new connection to be reset, maybe while it is being made.
func turnedAway(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	ends(t, c, syscall.ECONNRESET)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestPassesBothWaysAndHalfCloses(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	near, far := dial(t, p, u)
	move(t, near, far, "question")
	move(t, far, near, "answer")
	if p.Connections() != 1 || p.Accepted() != 1 {
		t.Errorf("%d connections of %d", p.Connections(), p.Accepted())
	}
	if err := near.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ends(t, far, io.EOF)
	move(t, far, near, "last words")
	_ = far.Close()
	ends(t, near, io.EOF)
	until(t, "the end of the connection", func() bool { return p.Connections() == 0 })
}

func TestCutAndReset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*Proxy)
		want error
	}{{"cut", (*Proxy).Cut, io.EOF}, {"reset", (*Proxy).Reset, syscall.ECONNRESET}, {"close", (*Proxy).Close, syscall.ECONNRESET}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, u := start(t)
			near, far := dial(t, p, u)
			move(t, near, far, "question")
			p.Stall(true) // what is held back must not stand in the way
			if _, err := far.Write([]byte("held")); err != nil {
				t.Fatal(err)
			}
			c.do(p)
			ends(t, near, c.want)
			ends(t, far, c.want)
			if p.Connections() != 0 {
				t.Errorf("%d connections", p.Connections())
			}
		})
	}
}

func TestResetOfAnEndReachesTheOther(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	near, far := dial(t, p, u)
	reset(near.(*net.TCPConn))
	ends(t, far, syscall.ECONNRESET)
}

func TestStall(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	near, far := dial(t, p, u)
	p.Stall(true)
	p.Stall(true)
	late := hang(t, p)
	for _, c := range []net.Conn{near, far, late} {
		if _, err := c.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both connections", func() bool { return p.Connections() == 2 })
	if p.Accepted() != 1 {
		t.Errorf("upstream was reached %d times", p.Accepted())
	}
	for _, c := range []net.Conn{near, far} {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes came through, %v", n, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(soon))
	}
	p.Stall(false)
	later := <-u.conns
	defer later.Close()
	for _, c := range []net.Conn{near, far, later} {
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "held" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestCutOfWhatHangs(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	p.Stall(true)
	c := hang(t, p)
	until(t, "the connection", func() bool { return p.Connections() == 1 })
	p.Cut()
	ends(t, c, io.EOF)
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	near, far := dial(t, p, u)
	p.Refuse(true)
	turnedAway(t, p)
	move(t, near, far, "still there")
	p.Refuse(false)
	dial(t, p, u)
}

func TestNoUpstream(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	_ = u.Close()
	turnedAway(t, p)
}

func TestChunkDelayTap(t *testing.T) {
	t.Parallel()
	p, u := start(t)
	var mu sync.Mutex
	var seen bytes.Buffer
	p.Tap(func() io.Writer { return writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); seen.Write(b) }) })
	p.SetChunk(1)
	p.SetDelay(20 * time.Millisecond)
	near, far := dial(t, p, u)
	text := bytes.Repeat([]byte("segment "), 100)
	began := time.Now()
	if _, err := near.Write(text); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(text) {
		part := make([]byte, len(text))
		n, err := far.Read(part)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 && time.Since(began) < 20*time.Millisecond {
			t.Error("the first byte came early")
		}
		got = append(got, part[:n]...)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, text) || !slices.Equal(seen.Bytes(), text) {
		t.Errorf("%q came as %q, seen as %q", text, got, seen.Bytes())
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }
