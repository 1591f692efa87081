// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

func TestStalledDownload(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		<-release
	}))
	t.Cleanup(cloud.Close)
	t.Cleanup(func() { close(release) })
	f, _ := glanceAt(t, cloud.URL)
	f.stall = 50 * time.Millisecond
	client, err := f.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(t.Context(), client.ServiceURL("file"), nil, &gophercloud.RequestOpts{KeepResponseBody: true})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != errStalled || string(data) != "some" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestStalledUpload(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	cloud := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(cloud.Close)
	t.Cleanup(func() { close(release) })
	f, _ := glanceAt(t, cloud.URL)
	f.stall = 50 * time.Millisecond
	client, err := f.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	endless := struct{ io.Reader }{io.MultiReader(bytes.NewReader(make([]byte, 64<<20)))}
	_, err = client.Put(t.Context(), client.ServiceURL("file"), endless, nil, nil)
	if !errors.Is(err, errStalled) {
		t.Errorf("got %v", err)
	}
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
