// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/nettest"
)

// stalling is a factory whose Glance is a handler behind a network in memory.
func stalling(t *testing.T, handler http.HandlerFunc) *gophercloud.ServiceClient {
	t.Helper()
	cloud, network := nettest.Serve(t, handler)
	f, _ := glanceAt(t, cloud.URL)
	pool := &http.Transport{DialContext: network.Dial}
	t.Cleanup(pool.CloseIdleConnections)
	f.transports.pools[trust{}] = pool
	client, err := f.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestStalledDownload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := stalling(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		resp, err := client.Get(t.Context(), client.ServiceURL("file"), nil, &gophercloud.RequestOpts{KeepResponseBody: true})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began := time.Now()
		if data, err := io.ReadAll(resp.Body); err != errStalled || string(data) != "some" || time.Since(began) != stallTimeout {
			t.Errorf("got %q, %v after %s", data, err, time.Since(began))
		}
	})
}

func TestStalledUpload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		client := stalling(t, func(http.ResponseWriter, *http.Request) { <-release })
		endless := struct{ io.Reader }{io.MultiReader(bytes.NewReader(make([]byte, 64<<20)))}
		began := time.Now()
		_, err := client.Put(t.Context(), client.ServiceURL("file"), endless, nil, nil)
		if !errors.Is(err, errStalled) || time.Since(began) != stallTimeout {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// late answers after a while.
type late struct{ after time.Duration }

func (l late) Read(p []byte) (int, error) {
	time.Sleep(l.after)
	return copy(p, "x"), nil
}
func (late) Close() error { return nil }

func TestOnlyThePeersTimeCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := false
		b := &sentBody{body: late{time.Hour}, timeout: time.Minute, giveUp: func() { given = true }}
		for range 3 {
			if n, err := b.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(time.Minute - time.Second)
			synctest.Wait()
			if given {
				t.Fatal("given up too early")
			}
		}
		if _, err := b.Read(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if !given {
			t.Error("not given up")
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
