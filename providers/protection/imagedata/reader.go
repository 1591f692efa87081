// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/karbor-project/karbor/bank"
)

// What a Reader reads ahead: openAhead objects besides the one that is consumed,
// and of each at most queued pieces of pieceSize bytes. That is 3 MiB in all.
const (
	openAhead = 3
	queued    = 2
	pieceSize = 256 << 10
)

var errClosed = errors.New("reader was closed")

// Reader streams data objects one after the other. While one is consumed the
// next ones are read already: a store answers slowly and many at a time. The end
// of the stream comes only when the checksum was right, so that a receiver never
// takes bad data for whole. Read is for one goroutine; Close may be called by
// another.
type Reader struct {
	// Passed, unless it is nil, is called by Read when an object was read to its
	// end.
	Passed func()

	ctx     context.Context
	cancel  context.CancelCauseFunc
	objects chan *object // in their order, closed after the last
	spent   chan []byte
	running sync.WaitGroup

	digest  *digest
	early   error // met by begins
	current *object
	piece   []byte // being consumed
	rest    []byte // of piece

	mu      sync.Mutex
	failure error
}

// object is one data object on its way.
type object struct {
	pieces chan []byte // closed after err is set
	err    error
}

// opener opens one object.
type opener func(ctx context.Context, key string) (io.ReadCloser, error)

// NewReader starts to read the objects. md5 is the expected checksum of all, ""
// if it is not known. Close has to be called.
func NewReader(ctx context.Context, section *bank.Section, keys []string, md5 string) *Reader {
	return newReader(ctx, section.Open, keys, md5)
}

func newReader(ctx context.Context, open opener, keys []string, md5 string) *Reader {
	r := &Reader{
		objects: make(chan *object, openAhead),
		spent:   make(chan []byte, (openAhead+1)*(queued+1)),
		digest:  newDigest(Hash{MD5: md5}),
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.running.Go(func() {
		for _, key := range keys {
			o := &object{pieces: make(chan []byte, queued)}
			select {
			case r.objects <- o:
			case <-r.ctx.Done():
				return
			}
			// One after the other: an object that is open must not wait for an earlier one
			// that could not be opened.
			body, err := open(r.ctx, key)
			if err != nil {
				o.err = err
				close(o.pieces)
				return
			}
			r.running.Go(func() {
				o.err = r.fetch(body, key, o.pieces)
				close(o.pieces)
			})
		}
		close(r.objects)
	})
	return r
}

// fetch reads one object piece by piece.
func (r *Reader) fetch(body io.ReadCloser, key string, pieces chan<- []byte) error {
	defer body.Close()
	for {
		var buffer []byte
		select {
		case buffer = <-r.spent:
		default:
			buffer = make([]byte, pieceSize)
		}
		n, err := fill(body, buffer)
		if n > 0 {
			select {
			case pieces <- buffer[:n]:
			case <-r.ctx.Done():
				return context.Cause(r.ctx)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
	}
}

// Read gives the next bytes, and the failure of an object or of the checksum in
// place of io.EOF. Of a closed Reader it gives nothing, whatever was read ahead.
func (r *Reader) Read(p []byte) (int, error) {
	if context.Cause(r.ctx) == errClosed {
		return 0, r.end(errClosed)
	}
	if r.early != nil {
		return 0, r.end(r.early)
	}
	for len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, r.end(err)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// begins tells, before the first Read, whether the stream begins with a byte.
func (r *Reader) begins(with byte) bool {
	for len(r.rest) == 0 && r.early == nil {
		r.early = r.next()
	}
	return len(r.rest) > 0 && r.rest[0] == with
}

// next takes the next piece, if any is left of the current object, or else goes
// on to the next object.
func (r *Reader) next() error {
	if r.piece != nil {
		select {
		case r.spent <- r.piece[:pieceSize]:
		default:
		}
		r.piece = nil
	}
	if r.current == nil {
		select {
		case o, ok := <-r.objects:
			if !ok {
				return r.verdict()
			}
			r.current = o
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	piece, ok := <-r.current.pieces
	if !ok {
		err := r.current.err
		r.current = nil
		if err == nil && r.Passed != nil {
			r.Passed()
		}
		return err
	}
	_, _ = r.digest.Write(piece) // hashes do not fail
	r.piece, r.rest = piece, piece
	return nil
}

func (r *Reader) verdict() error {
	if err := r.digest.check(); err != nil {
		return fmt.Errorf("%w: %v", ErrChecksum, err)
	}
	return io.EOF
}

// end notes how the stream ended.
func (r *Reader) end(err error) error {
	if err != io.EOF && context.Cause(r.ctx) == errClosed {
		err = errClosed // the receiver gave up, whatever that did to a read
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	return err
}

// Err returns how the stream ended: io.EOF if all was read and right, nil if it
// was not read to an end.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// Close stops the reading and waits for its end.
func (r *Reader) Close() error {
	r.cancel(errClosed)
	r.running.Wait()
	return nil
}
