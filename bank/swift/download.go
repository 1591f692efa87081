// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"crypto/md5" //nolint:gosec // the checksum that Swift keeps
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"strings"
)

// download is the body of an object. If the connection breaks it resumes at the same byte, as long
// as the object is unchanged. It verifies the checksum at the end.
type download struct {
	ctx   context.Context
	store *store
	r     request
	res   *response // nil after Close

	offset int64
	size   int64 // -1: unknown
	etag   string
	sum    hash.Hash // nil if there is no checksum to compare with
	broken int       // consecutive failures without a byte
	err    error     // final error
}

func newDownload(ctx context.Context, s *store, r request, res *response) *download {
	d := &download{ctx: ctx, store: s, r: r, res: res, size: res.ContentLength, etag: res.Header.Get("Etag")}
	// The ETag of a segmented large object is not the checksum of its body.
	if isMD5(d.etag) && res.Header.Get("X-Static-Large-Object") == "" && res.Header.Get("X-Object-Manifest") == "" {
		d.sum = md5.New() //nolint:gosec // see above
	}
	return d
}

// version returns the ETag if it is the checksum of the body; listings contain it too.
func (d *download) version() string {
	if d.sum == nil {
		return ""
	}
	return d.etag
}

func (d *download) Read(p []byte) (int, error) {
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	// The transport notices a cancellation late, and meanwhile hands out data that has arrived.
	if err := context.Cause(d.ctx); err != nil {
		d.err = d.store.session.failed(d.r, err)
		return 0, d.err
	}
	for {
		d.res.watch.touch()
		n, err := d.res.Body.Read(p)
		d.offset += int64(n)
		if d.sum != nil {
			d.sum.Write(p[:n])
		}
		if n > 0 {
			d.broken = 0
		}
		switch {
		case err == nil:
			return n, nil
		case err == io.EOF && (d.size < 0 || d.offset == d.size):
			d.err = d.verify()
			return n, d.err
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		if resumeErr := d.resume(err); resumeErr != nil {
			d.err = resumeErr
			return n, d.err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (d *download) verify() error {
	if d.sum == nil {
		return io.EOF
	}
	if read := hex.EncodeToString(d.sum.Sum(nil)); !strings.EqualFold(read, strings.Trim(d.etag, `"`)) {
		return d.store.unlessOutage(d.ctx, d.store.session.failed(d.r, fmt.Errorf("checksum of the body is %s instead of %s", read, d.etag)))
	}
	return io.EOF
}

// resume requests the rest of the object.
func (d *download) resume(cause error) error {
	s := d.store.session
	if d.ctx.Err() != nil {
		return s.failed(d.r, context.Cause(d.ctx))
	}
	if d.broken++; d.etag == "" || d.broken > d.store.retries {
		// The server began to answer each time, so only this object may be at fault.
		return d.store.unlessOutage(d.ctx, s.failed(d.r, fmt.Errorf("body broke off after %d bytes: %w", d.offset, cause)))
	}
	d.res.Body.Close()
	d.res.watch.end()

	rest := d.r
	rest.header = maps.Clone(d.r.header)
	if rest.header == nil {
		rest.header = map[string]string{}
	}
	rest.header["If-Match"] = d.etag
	if d.offset > 0 {
		rest.header["Range"] = fmt.Sprintf("bytes=%d-", d.offset)
	}
	res, err := s.do(d.ctx, rest, d.store.retries)
	if isStatus(err, http.StatusPreconditionFailed) {
		return s.failed(d.r, fmt.Errorf("object was replaced while it was read: %w", err))
	}
	if err != nil {
		return err
	}
	d.res = res
	if d.offset > 0 && res.StatusCode != http.StatusPartialContent {
		return s.failed(d.r, errors.New("body broke off and the server does not give the rest alone"))
	}
	return nil
}

// Close ends the transfer, complete or not.
func (d *download) Close() error {
	if d.res == nil {
		return nil
	}
	if d.err == nil {
		d.err = errors.New("body is closed")
	}
	d.res.Body.Close()
	d.res.watch.end()
	d.res = nil
	d.store.downloads.put()
	return nil
}
