// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/swift"
)

// drop closes the connection without an answer.
func drop(w http.ResponseWriter, _ *http.Request) bool {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
	return true
}

// truncate announces the whole body and sends half of it.
func truncate(w http.ResponseWriter, r *http.Request, f *fake, name string) bool {
	o, _ := f.stored("karbor", name)
	recorder := httptest.NewRecorder()
	serve(recorder, r, o)
	for header, values := range recorder.Header() {
		w.Header()[header] = values
	}
	w.WriteHeader(recorder.Code)
	body := recorder.Body.Bytes()
	_, _ = w.Write(body[:len(body)/2])
	return true
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do    func(http.ResponseWriter, *http.Request) bool
		times int
		want  string // in the error; "" for success
		put   bool   // only for uploads
	}{
		"accepted, not stored":    {do: status(202), times: 3, put: true},
		"never stored":            {do: status(202), times: 4, put: true, want: "202 Accepted (txn: tx1), tried 4 times in"},
		"stored without an ETag":  {do: status(201), times: 3, put: true},
		"another is newer":        {do: status(409), times: 3, put: true},
		"another stays newer":     {do: status(409), times: 4, put: true, want: "409 Conflict (txn: tx1), tried 4 times in"},
		"some other success":      {do: status(200), times: 1, put: true, want: "200 OK"},
		"three times unavailable": {do: status(503), times: 3},
		"four times unavailable":  {do: status(503), times: 4, want: "503 Service Unavailable (txn: tx1), tried 4 times in"},
		"connection dropped":      {do: drop, times: 3},
		"request timeout":         {do: status(408), times: 1},
		"rate limited":            {do: status(498), times: 1},
		"too many requests":       {do: status(429), times: 1},
		"insufficient storage":    {do: status(507), times: 3},
		"forbidden is final":      {do: status(403), times: 1, want: "403 Forbidden"},
		"new token after 401":     {do: status(401), times: 1},
		"401 with the new token":  {do: status(401), times: 2, want: "401 Unauthorized"},
	} {
		methods := []string{"PUT", "GET", "DELETE"}
		if test.put {
			methods = methods[:1]
		}
		for _, method := range methods {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				p := newStore(t, config(f))
				if err := put(t, p, "/a", "old"); err != nil {
					t.Fatal(err)
				}
				f.fail(test.times, method, "//a", test.do)
				var err error
				switch method {
				case "PUT":
					err = put(t, p, "/a", "new")
				case "GET":
					_, err = get(t, p, "/a")
				case "DELETE":
					err = p.Delete(t.Context(), "/a")
				}
				if test.want == "" && err != nil {
					t.Errorf("%v", err)
				}
				if test.want == "" {
					if got, err := get(t, p, "/a"); method == "PUT" && (string(got) != "new" || err != nil) {
						t.Errorf("the object holds %q, %v", got, err)
					}
					return
				}
				if err == nil {
					t.Fatal("no error")
				}
				for _, part := range []string{
					"Connection to swift failed: " + method + " " + f.URL + "/v1/AUTH_project/karbor//a: ", test.want,
				} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error is %q, without %q", err, part)
					}
				}
			})
		}
	}
}

func TestExpiredTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	if err := put(t, p, "/a", "1"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.tokens++ // the old one is no good any more
	before := f.tokens
	f.mu.Unlock()
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := get(t, p, "/a")
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens != before+1 {
		t.Errorf("%d tokens were issued for eight refused requests", f.tokens-before)
	}
}

// A failed attempt may have read a part of the body.
// Who gives up reads what has failed until then, not only that the time was over.
func TestGivingUpTellsWhatHasFailed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	ctx, cancel := context.WithCancel(t.Context())
	f.fail(1, "GET", "//a", status(503))
	f.fail(1, "GET", "//a", func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	_, err := p.Get(ctx, "/a")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "503 Service Unavailable") {
		t.Errorf("error %v", err)
	}
}

func TestUploadStartsAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	data := bytes.Repeat([]byte("0123456789"), 300_000)
	f.fail(1, "PUT", "//big", func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, 1_000_000)
		return status(503)(w, r)
	})
	f.fail(1, "PUT", "//big", func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, 500_000)
		return drop(w, r)
	})
	err := p.Put(t.Context(), "/big", bank.Upload{Open: bank.Bytes(data), Size: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := f.stored("karbor", "/big"); !bytes.Equal(o.body, data) {
		t.Errorf("%d bytes are stored instead of %d, or other ones", len(o.body), len(data))
	}
}

// What arrived is not what was sent: the checksum tells.
func TestUploadIsVerified(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	f.fail(1, "PUT", "//a", func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Etag", etag([]byte("something else")))
		w.WriteHeader(http.StatusCreated)
		return true
	})
	if err := put(t, p, "/a", "body"); err != nil {
		t.Error(err)
	}
	if body, err := get(t, p, "/a"); body != "body" || err != nil {
		t.Errorf("object is %q, %v", body, err)
	}
}

func TestTruncatedDownloadGoesOn(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	data := strings.Repeat("0123456789", 200_000)
	if err := put(t, p, "/big", data); err != nil {
		t.Fatal(err)
	}
	f.seen()
	f.fail(3, "GET", "//big", func(w http.ResponseWriter, r *http.Request) bool { return truncate(w, r, f, "/big") })
	body, err := get(t, p, "/big")
	if err != nil || body != data {
		t.Errorf("read %d bytes instead of %d, or other ones: %v", len(body), len(data), err)
	}
	if n := len(f.seen()); n != 4 {
		t.Errorf("%d requests instead of 4", n)
	}
}

func TestReplacedObjectIsNotMixed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	if err := put(t, p, "/a", strings.Repeat("old", 100_000)); err != nil {
		t.Fatal(err)
	}
	f.fail(1, "GET", "//a", func(w http.ResponseWriter, r *http.Request) bool {
		truncate(w, r, f, "/a")
		f.mu.Lock()
		defer f.mu.Unlock()
		f.containers["karbor"]["/a"] = fakeObject{body: []byte(strings.Repeat("new", 100_000))}
		return true
	})
	if _, err := get(t, p, "/a"); err == nil || !strings.Contains(err.Error(), "object was replaced while it was read") {
		t.Errorf("error is %v", err)
	}
}

func TestDamagedDownloadIsAnError(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	if err := put(t, p, "/a", "body"); err != nil {
		t.Fatal(err)
	}
	f.fail(1, "GET", "//a", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Etag", etag([]byte("body")))
		_, _ = io.WriteString(w, "b0dy")
		return true
	})
	if _, err := get(t, p, "/a"); err == nil || !strings.Contains(err.Error(), "checksum of the body is") {
		t.Errorf("error is %v", err)
	}
}

func TestTruncatedListingIsAskedAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	for _, key := range []string{"/a", "/b"} {
		if err := put(t, p, key, ""); err != nil {
			t.Fatal(err)
		}
	}
	f.fail(2, "GET", "karbor", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "/a\n")
		return true
	})
	keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/"})
	if err != nil || len(keys) != 2 {
		t.Errorf("listing gives %q, %v", keys, err)
	}
}

// A server that stops in the middle must not hold a flow for ever.
func TestStalledTransfers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, network := newFakeInMemory(t)
		cfg := config(f)
		cfg.StallTimeout = 2 * time.Minute
		p := newStore(t, cfg)
		swift.Join(p, network)
		data := strings.Repeat("0123456789", 200_000)
		if err := put(t, p, "/big", data); err != nil {
			t.Fatal(err)
		}
		hang := func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			<-r.Context().Done()
			return true
		}
		f.fail(1, "GET", "//big", func(w http.ResponseWriter, r *http.Request) bool {
			o, _ := f.stored("karbor", "/big")
			w.Header().Set("Etag", etag(o.body))
			w.Header().Set("Content-Length", "2000000")
			_, _ = w.Write(o.body[:1_000_000])
			w.(http.Flusher).Flush()
			return hang(w, r)
		})
		if body, err := get(t, p, "/big"); err != nil || body != data {
			t.Errorf("download: %d bytes, %v", len(body), err)
		}
		f.fail(1, "PUT", "//new", func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			return hang(w, r)
		})
		if err := put(t, p, "/new", data); err != nil {
			t.Errorf("upload: %v", err)
		}
		f.fail(4, "GET", "//new", hang)
		if _, err := get(t, p, "/new"); err == nil || !strings.Contains(err.Error(), "no data moved for too long (2m0s)") {
			t.Errorf("a server that never answers gives %v", err)
		}
	})
}

// Slow is not stalled: a piece comes a moment before the timeout, again and again.
func TestSlowTransfers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, network := newFakeInMemory(t)
		cfg := config(f)
		cfg.StallTimeout = 2 * time.Minute
		p := newStore(t, cfg)
		swift.Join(p, network)
		const almost = 2*time.Minute - time.Second
		data := strings.Repeat("0123456789", 10)
		f.fail(1, "PUT", "//a", func(_ http.ResponseWriter, r *http.Request) bool {
			time.Sleep(almost)
			return false
		})
		if err := put(t, p, "/a", data); err != nil {
			t.Fatal(err)
		}
		f.fail(1, "GET", "//a", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Etag", etag([]byte(data)))
			w.Header().Set("Content-Length", "100")
			for piece := range strings.SplitSeq(strings.Repeat("0123456789,", 10), ",") {
				time.Sleep(almost)
				_, _ = io.WriteString(w, piece)
				w.(http.Flusher).Flush()
			}
			return true
		})
		before := len(f.requests)
		if body, err := get(t, p, "/a"); err != nil || body != data || len(f.requests) != before+1 {
			t.Errorf("download: %q by %d requests, %v", body, len(f.requests)-before, err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + listener.Addr().String()
	listener.Close()

	f := newFake(t)
	cfg := config(f)
	cfg.AuthURL = nobody + "/v3"
	_, err = get(t, newStore(t, cfg), "/a")
	for _, part := range []string{"authentication at " + cfg.AuthURL, "connection refused", "tried 4 times"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("without Keystone: %v, without %q", err, part)
		}
	}

	f = newFake(t)
	p := newStore(t, config(f))
	if _, err := get(t, p, "/a"); !errors.Is(err, bank.ErrNotFound) {
		t.Fatal(err)
	}
	f.Close()
	err = put(t, p, "/a", "x")
	for _, part := range []string{"PUT " + f.URL + "/v1/AUTH_project/karbor//a", "connection refused", "tried 4 times"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("without Swift: %v, without %q", err, part)
		}
	}
}

func TestWrongPasswordIsFinalAndSecret(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.Key = "wrong-passw0rd"
	err := put(t, newStore(t, cfg), "/a", "x")
	if err == nil || !strings.Contains(err.Error(), "authentication at "+cfg.AuthURL+" failed: 401 Unauthorized") {
		t.Errorf("error is %v", err)
	}
	if strings.Contains(err.Error(), cfg.Key) {
		t.Errorf("the password is in the error: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) != 1 {
		t.Errorf("sent %q", f.requests)
	}
}

func TestBackoffEndsWithTheContext(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.RetryBackoff = time.Hour
	p := newStore(t, cfg)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopping")
	f.fail(1, "GET", "//a", func(w http.ResponseWriter, r *http.Request) bool {
		defer time.AfterFunc(10*time.Millisecond, func() { cancel(stop) })
		return status(503)(w, r)
	})
	if _, err := p.Get(ctx, "/a"); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	secure := httptest.NewTLSServer(f)
	t.Cleanup(secure.Close)
	plain := f.URL
	f.URL = secure.URL // for the catalog
	t.Cleanup(func() { f.URL = plain })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(f)
	cfg.RetryAttempts = 0
	for name, test := range map[string]struct {
		change func(*swift.Config)
		works  bool
	}{
		"unknown authority": {change: func(*swift.Config) {}},
		"authority given":   {change: func(c *swift.Config) { c.CACertFile = ca }, works: true},
		"any certificate":   {change: func(c *swift.Config) { c.Insecure = true }, works: true},
	} {
		own := cfg
		test.change(&own)
		if err := put(t, newStore(t, own), "/a", "x"); (err == nil) != test.works {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A container that is gone in the midst of a listing is no end of the listing.
func TestListingWhoseLaterPageIsMissing(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := config(f)
	cfg.PageSize = 2
	p := newStore(t, cfg)
	for _, key := range []string{"/a", "/b", "/c"} {
		if err := put(t, p, key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	pages := 0
	defer f.last("/v1/AUTH_project/karbor", func(w http.ResponseWriter, r *http.Request) bool {
		pages++
		return pages > 1 && status(404)(w, r)
	})()
	if keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/"}); err == nil || errors.Is(err, bank.ErrNotFound) {
		t.Errorf("listed %q, %v", keys, err)
	}
}

// A Keystone that does not answer costs a request no more than the time of a login.
func TestLoginHasItsOwnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, network := newFakeInMemory(t)
		cfg := config(f)
		cfg.RetryAttempts = 0
		p := newStore(t, cfg)
		swift.Join(p, network)
		over := make(chan struct{})
		defer close(over)
		f.fail(1, "POST", "/identity", func(http.ResponseWriter, *http.Request) bool {
			<-over
			return true
		})
		began := time.Now()
		if err := put(t, p, "/a", "x"); err == nil || time.Since(began) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := put(t, p, "/a", "x"); err != nil {
			t.Error(err)
		}
	})
}

// As many copies as there may be requests, each of whose first upload fails after it was
// read: no copy waits for what another one holds.
func TestCopiesThatAreRepeated(t *testing.T) {
	t.Parallel()
	const copies = 8
	f := newFake(t)
	cfg := config(f)
	cfg.MaxRequests = copies
	section, err := bank.New(newStore(t, cfg), nil).Section("/")
	if err != nil {
		t.Fatal(err)
	}
	from, err := section.Section("from")
	if err != nil {
		t.Fatal(err)
	}
	to, err := section.Section("to")
	if err != nil {
		t.Fatal(err)
	}
	for i := range copies {
		if err := from.PutBytes(t.Context(), strconv.Itoa(i), make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	var met sync.WaitGroup
	met.Add(copies)
	f.fail(copies, "PUT", "//to/", func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		met.Done()
		met.Wait() // each has read its source, and none is done
		return status(503)(w, r)
	})
	group, ctx := errgroup.WithContext(t.Context())
	for i := range copies {
		group.Go(func() error {
			_, err := to.CopyFrom(ctx, from, strconv.Itoa(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
