// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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

// readManifest returns nil if there is none.
func readManifest(ctx context.Context, section *bank.Section) (*Manifest, error) {
	var m Manifest
	err := section.GetJSON(ctx, ManifestKey, &m)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
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
	manifest, err := readManifest(ctx, section)
	if err != nil {
		return err
	}
	done := &progress{report: report, total: int64(len(keys))}
	if manifest == nil {
		return verifyAll(ctx, section, keys, md5, done)
	}
	if len(manifest.Objects) != len(keys) {
		return fmt.Errorf("%w: the manifest knows of %d objects", ErrCount, len(manifest.Objects))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for i, key := range keys {
		group.Go(func() error {
			if err := verifyOne(ctx, section, key, manifest.Objects[i]); err != nil {
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
	data := read(ctx, section, keys, md5)
	defer data.Close()
	data.Passed = func() { done.add(1) }
	_, err := io.Copy(io.Discard, data)
	return err
}

// verifyOne reads one object.
func verifyOne(ctx context.Context, section *bank.Section, key string, want Entry) error {
	body, err := section.Open(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, body)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if size != want.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrManifest, key, size, want.Size)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); !strings.EqualFold(got, want.SHA256) {
		return fmt.Errorf("%w: %s has SHA-256 %s, not %s", ErrManifest, key, got, want.SHA256)
	}
	return nil
}
