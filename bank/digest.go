// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/pkg/fault"
)

// ErrAltered reports that an object differs from the one whose digest is on record: somebody else
// has altered, removed or added it. It stays in the chain of the errors that a Section returns.
var ErrAltered = errors.New("the object is not the one that was written")

// Digests keeps the SHA-256 of objects, in hexadecimal, by key in the bank. It is safe for
// concurrent use.
type Digests interface {
	// Covers reports whether an object has a digest. The content of other objects is not checked.
	Covers(key string) bool
	// Record keeps the digest of an object that was written, before the write returns. An empty
	// digest means that the object was deleted.
	Record(ctx context.Context, key, digest string) error
	// Want returns the digest that an object must have, or "" if the object must not exist. ok is
	// false while objects are still being written, when any content is accepted.
	Want(key string) (digest string, ok bool)
	// Keys returns the keys below a prefix that have a digest.
	Keys(prefix string) []string
}

// WithDigests returns the section with digests of its objects: writes record them, and reads fail
// with ErrAltered for an object with another digest.
func (s *Section) WithDigests(d Digests) *Section {
	with := *s
	with.digests = d
	return &with
}

// parallelChecks is the number of objects that are checked at the same time.
const parallelChecks = 8

// Check reads all objects of the section that have a digest. It fails with ErrAltered for the first
// object that was altered, removed or added. A section without digests passes.
func (s *Section) Check(ctx context.Context) error {
	if s.digests == nil {
		return nil
	}
	keys, err := s.bank.list(ctx, ListOptions{Prefix: s.prefix})
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return !s.digests.Covers(key) })
	keys = append(keys, s.digests.Keys(s.prefix)...)
	slices.Sort(keys)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelChecks)
	for _, key := range slices.Compact(keys) {
		group.Go(func() error {
			o, err := s.get(ctx, key)
			if errors.Is(err, ErrNotFound) {
				return nil // the listing lags, and no digest says that the object must exist
			}
			if err != nil {
				return err
			}
			defer o.Body.Close()
			if _, err := io.Copy(io.Discard, o.Body); err != nil {
				return getFailed(key, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// get opens an object. If the object does not have its digest, the body ends with ErrAltered.
func (s *Section) get(ctx context.Context, key string) (*Object, error) {
	o, err := s.bank.get(ctx, key)
	if s.digests == nil || !s.digests.Covers(key) {
		return o, err
	}
	want, ok := s.digests.Want(key)
	switch {
	case !ok:
	case want != "" && errors.Is(err, ErrNotFound):
		return nil, altered(key, "it was removed")
	case want == "" && err == nil:
		o.Body.Close()
		return nil, altered(key, "it was added")
	case err == nil:
		o.Body = &checkedBody{ReadCloser: o.Body, hash: sha256.New(), key: key, want: want}
	}
	return o, err
}

func altered(key, how string) error {
	return fault.BankGetObjectFailed(key, "the signature of the checkpoint does not hold: "+how).WithCause(ErrAltered)
}

// checkedBody ends with ErrAltered unless its bytes match the digest.
type checkedBody struct {
	io.ReadCloser
	hash      hash.Hash
	key, want string
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hash.Write(p[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(b.hash.Sum(nil)); got != b.want {
			return n, altered(b.key, fmt.Sprintf("it was altered, its SHA-256 is %s and not %s", got, b.want))
		}
	}
	return n, err
}

// record stores an object and records its digest.
func (s *Section) record(ctx context.Context, key string, u Upload) error {
	sum, open := sha256.New(), u.Open
	u.Open = func() (io.ReadCloser, error) {
		body, err := open()
		if err != nil {
			return nil, err
		}
		sum.Reset()
		return hashedBody{io.TeeReader(body, sum), body}, nil
	}
	if err := s.bank.put(ctx, key, u); err != nil {
		return err
	}
	return s.digests.Record(ctx, key, hex.EncodeToString(sum.Sum(nil)))
}

// hashedBody hashes an upload while it is read, afresh for each attempt.
type hashedBody struct {
	io.Reader
	io.Closer
}
