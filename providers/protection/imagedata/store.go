// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
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
// objectSize bytes. It returns the manifest of these, which has none for an image
// without data. Data whose hash is not the expected one gives an error after it was
// written; it is not worth anything then. size is the size of the data, for the
// report; 0 if it is not known.
//
// At most five buffers of objectSize bytes are in memory.
func (t *Transfer) Store(ctx context.Context, objectSize int, size int64, want Hash) (*Manifest, error) {
	group, ctx := errgroup.WithContext(ctx)
	body, err := download(ctx, t.Client, t.ImageID)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	inFlight := min(max(budget/objectSize, 1), maxInFlight)
	w := &writer{
		section: t.Section, group: group, progress: progress{report: t.Report, total: size},
		objectSize: objectSize, buffers: make(chan []byte, inFlight+1),
	}
	for range cap(w.buffers) {
		w.buffers <- nil // made when it is needed: small images need few
	}
	digest := newDigest(want)
	readErr := w.readAll(ctx, io.TeeReader(body, digest))
	if err := group.Wait(); err != nil {
		return nil, err // the cause of readErr, if there is one
	}
	if readErr != nil {
		return nil, fmt.Errorf("reading the data of image %s: %w", t.ImageID, readErr)
	}
	return w.manifest(), digest.check()
}

// writer cuts a stream into objects and writes several of them at a time.
type writer struct {
	section    *bank.Section
	group      *errgroup.Group
	progress   progress
	objectSize int
	buffers    chan []byte // those that are free
	entries    []*Entry    // of the objects so far
}

// readAll reads until the end of the stream, and lets the objects be written.
func (w *writer) readAll(ctx context.Context, stream io.Reader) error {
	for {
		var buffer []byte
		select {
		case buffer = <-w.buffers:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if buffer == nil {
			buffer = make([]byte, w.objectSize)
		}
		n, err := fill(stream, buffer)
		if err != nil && err != io.EOF {
			return err
		}
		if n > 0 {
			entry := &Entry{}
			w.entries = append(w.entries, entry)
			key := Key(len(w.entries))
			w.group.Go(func() error {
				defer func() { w.buffers <- buffer }()
				return w.write(ctx, key, buffer[:n], entry)
			})
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (w *writer) write(ctx context.Context, key string, data []byte, entry *Entry) error {
	*entry = describe(data)
	if err := w.section.PutBytes(ctx, key, data); err != nil {
		return err
	}
	w.progress.add(int64(len(data)))
	return nil
}

// manifest describes the objects, when all are written.
func (w *writer) manifest() *Manifest {
	m := &Manifest{Objects: make([]Entry, len(w.entries))}
	for i, entry := range w.entries {
		m.Objects[i] = *entry
	}
	return m
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
		return nil, fmt.Errorf("opening the data of image %s: %w", imageID, err)
	}
	if resp.Body == nil {
		return nil, errors.New("answer without a body")
	}
	return resp.Body, nil
}
