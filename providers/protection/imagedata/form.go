// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"io"

	"github.com/karbor-project/karbor/bank"
)

// read starts to read the objects in the form that they have. Under Python 3 the
// original stored data as JSON strings; a bank that keeps flags tells, and undoes
// it. In a folder nothing tells but the checksum: data that begin like a string,
// and are right as one, were one. That costs one more reading, of such data only. Data with
// a manifest are not the original's.
func read(ctx context.Context, section *bank.Section, keys []string, md5 *string, manifest *Manifest) *Reader {
	want := ""
	if md5 != nil {
		want = *md5
	}
	if manifest != nil {
		return newReader(ctx, manifest.opener(section), keys, want)
	}
	plain := NewReader(ctx, section, keys, want)
	if want == "" || !plain.begins('"') || !rightAsStrings(ctx, section, keys, want) {
		return plain
	}
	_ = plain.Close()
	return newReader(ctx, section.OpenString, keys, want)
}

func rightAsStrings(ctx context.Context, section *bank.Section, keys []string, md5 string) bool {
	data := newReader(ctx, section.OpenString, keys, md5)
	defer data.Close()
	_, err := io.Copy(io.Discard, data)
	return err == nil
}
