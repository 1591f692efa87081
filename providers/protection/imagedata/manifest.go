// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// ManifestKey is the object that says what the data objects are like. The original
// does not know it: it leaves it alone, and deletes it with the rest.
const ManifestKey = "manifest"

// ErrManifest is in the chain of the error of data that is not what the manifest
// says.
var ErrManifest = errors.New("The data in the bank is not what was written") //nolint:staticcheck // shown to users

// Manifest describes the data objects, the first of them first.
type Manifest struct {
	Objects []Entry `json:"objects"`
}

// Entry describes one object.
type Entry struct {
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
}

func describe(data []byte) Entry {
	sum := sha256.Sum256(data)
	return Entry{Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// Write writes the manifest into the section.
func (m *Manifest) Write(ctx context.Context, section *bank.Section) error {
	return section.PutJSON(ctx, ManifestKey, m)
}

// readManifest returns the manifest of count objects, nil if there is none.
func readManifest(ctx context.Context, section *bank.Section, count int) (*Manifest, error) {
	var m Manifest
	err := section.GetJSON(ctx, ManifestKey, &m)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(m.Objects) != count {
		return nil, fmt.Errorf("%w: the manifest knows of %d objects", ErrCount, len(m.Objects))
	}
	return &m, nil
}

// parallelReads is how many objects are read at a time to be verified.
const parallelReads = 4

// Verify reads the data objects, count of them, and fails if one of them is
// missing or not what it was when it was written: by the manifest, or if there is
// none by the MD5 of all, unless that is not known either. report, which may be
// nil, is told how much is read, in percent.
func Verify(ctx context.Context, section *bank.Section, count Count, md5 *string, report func(percent int)) error {
	keys, err := Keys(ctx, section, count)
	if err != nil {
		return err
	}
	manifest, err := readManifest(ctx, section, len(keys))
	if err != nil {
		return err
	}
	done := &progress{report: report, total: int64(len(keys))}
	if manifest == nil {
		return verifyAll(ctx, section, keys, md5, done)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, key := range keys {
		group.Go(func() error {
			if err := verifyOne(ctx, manifest.opener(section), key); err != nil {
				return err
			}
			done.add(1)
			return nil
		})
	}
	return group.Wait()
}

// verifyAll reads the objects one after the other.
func verifyAll(ctx context.Context, section *bank.Section, keys []string, md5 *string, done *progress) error {
	data := read(ctx, section, keys, md5, nil)
	defer data.Close()
	data.Passed = func() { done.add(1) }
	_, err := io.Copy(io.Discard, data)
	return err
}

// verifyOne reads one object.
func verifyOne(ctx context.Context, open opener, key string) error {
	body, err := open(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// opener returns an opener of data objects whose bodies fail where they end, unless they are
// what the manifest says. All keys are described.
func (m *Manifest) opener(section *bank.Section) opener {
	return func(ctx context.Context, key string) (io.ReadCloser, error) {
		body, err := section.Open(ctx, key)
		if err != nil {
			return nil, err
		}
		return &describedBody{ReadCloser: body, key: key, want: m.Objects[Number(key)-1], hash: sha256.New()}, nil
	}
}

type describedBody struct {
	io.ReadCloser
	key  string
	want Entry
	size int64
	hash hash.Hash
}

func (b *describedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.size += int64(n)
	b.hash.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	if b.size != b.want.Size {
		return n, fmt.Errorf("%w: %s has %d bytes, not %d", ErrManifest, b.key, b.size, b.want.Size)
	}
	if got := hex.EncodeToString(b.hash.Sum(nil)); !strings.EqualFold(got, b.want.SHA256) {
		return n, fmt.Errorf("%w: %s has SHA-256 %s, not %s", ErrManifest, b.key, got, b.want.SHA256)
	}
	return n, io.EOF
}
