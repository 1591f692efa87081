// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// Objects in flight: as many as fit into budget, but one at least and
// maxInFlight at most.
const (
	maxInFlight = 4
	budget      = 64 << 20
)

// Transfer moves the data of one image between Glance and a section of the bank.
type Transfer struct {
	Client  *gophercloud.ServiceClient
	ImageID string
	Section *bank.Section
	// Manifest, unless it is nil, gets an entry for each object that Store writes.
	Manifest *Manifest
	// Report is told how much has arrived, in percent of all. It is safe for
	// concurrent use. Nil: nobody wants to know.
	Report func(percent int)
}

// progress adds up what has arrived and reports each new percent.
type progress struct {
	report func(percent int)
	total  int64

	mu      sync.Mutex
	arrived int64
	percent int
}

func (p *progress) add(n int64) {
	if p.report == nil || p.total <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived += n
	if percent := int(min(p.arrived, p.total) * 100 / p.total); percent > p.percent {
		p.percent = percent
		p.report(percent)
	}
}

// Store reads the data of the image and writes it into the section in objects of
// objectSize bytes. It returns how many there are: none for an image without
// data. Data whose hash is not the expected one gives an error after it was
// written; it is not worth anything then. size is that of the data, for the
// report; 0 if it is not known.
//
// At most five buffers of objectSize bytes are in memory.
func (t *Transfer) Store(ctx context.Context, objectSize int, size int64, want Hash) (int, error) {
	digest, progress := newDigest(want), &progress{report: t.Report, total: size}
	group, ctx := errgroup.WithContext(ctx)
	body, err := download(ctx, t.Client, t.ImageID)
	if err != nil {
		return 0, err
	}
	defer body.Close()

	inFlight := min(max(budget/objectSize, 1), maxInFlight)
	buffers := make(chan []byte, inFlight+1)
	for range cap(buffers) {
		buffers <- nil // made when it is needed: small images need few
	}
	count := 0
	var entries []*Entry
	readErr := func() error {
		for {
			var buffer []byte
			select {
			case buffer = <-buffers:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if buffer == nil {
				buffer = make([]byte, objectSize)
			}
			n, err := fill(body, buffer)
			if err != nil && err != io.EOF {
				return fmt.Errorf("read the data of image %s: %w", t.ImageID, err)
			}
			if n > 0 {
				digest.Write(buffer[:n])
				count++
				key, entry := Key(count), &Entry{}
				entries = append(entries, entry)
				group.Go(func() error {
					defer func() { buffers <- buffer }()
					if t.Manifest != nil {
						*entry = describe(buffer[:n])
					}
					if err := t.Section.Put(ctx, key, bytes.NewReader(buffer[:n]), int64(n)); err != nil {
						return err
					}
					progress.add(int64(n))
					return nil
				})
			}
			if err == io.EOF {
				return nil
			}
		}
	}()
	if err := group.Wait(); err != nil {
		return 0, err // the cause of readErr, if there is one
	}
	if readErr != nil {
		return 0, readErr
	}
	if t.Manifest != nil {
		t.Manifest.Objects = make([]Entry, len(entries))
		for i, entry := range entries {
			t.Manifest.Objects[i] = *entry
		}
	}
	return count, digest.check()
}

// fill reads until the buffer is full. Unlike io.ReadFull it leaves EOF and the
// error of a stream that broke off distinct.
func fill(r io.Reader, buffer []byte) (int, error) {
	n := 0
	for n < len(buffer) {
		m, err := r.Read(buffer[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// download opens the data of an image. glance: GET /v2/images/{id}/file, which
// answers 204 when there is none.
func download(ctx context.Context, client *gophercloud.ServiceClient, imageID string) (io.ReadCloser, error) {
	resp, err := client.Get(ctx, client.ServiceURL("images", url.PathEscape(imageID), "file"), nil, &gophercloud.RequestOpts{
		KeepResponseBody: true,
		OkCodes:          []int{http.StatusOK, http.StatusNoContent},
		MoreHeaders:      map[string]string{"Accept": "*/*"},
	})
	if err != nil {
		return nil, fmt.Errorf("open the data of image %s: %w", imageID, err)
	}
	if resp.Body == nil {
		return nil, errors.New("answer without a body")
	}
	return resp.Body, nil
}
