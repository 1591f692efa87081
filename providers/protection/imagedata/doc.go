// SPDX-License-Identifier: Apache-2.0

// Package imagedata moves the data of images between Glance and the bank. The
// bank holds it as raw objects data_1, data_2, ... of one size, the last one
// shorter. Both directions stream: the memory in use does not depend on the size of the
// image.
// karbor: services/protection/protection_plugins/utils.py
package imagedata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// OfServer is the id under which the backup of a server's disk is kept when the
// server is not the first one that was booted from the image.
func OfServer(imageID, serverID string) string { return imageID + "@" + serverID }

// Prefix begins the keys of data objects.
const Prefix = "data_"

// The texts by which users know a backup that is not whole.
var (
	ErrCount    = errors.New("The chunks num of restored image is invalid") //nolint:staticcheck // shown to users; karbor: utils.py
	ErrChecksum = errors.New("The checksum of restored image is invalid")   //nolint:staticcheck // shown to users; karbor: utils.py
)

// Metadata is the image_metadata of a resource's metadata object, with the key
// order of the image plugin. Null in Glance is nil here.
type Metadata struct {
	DiskFormat      *string `json:"disk_format"`
	ContainerFormat *string `json:"container_format"`
	Checksum        *string `json:"checksum"` // MD5 of the data in hex
}

// Count is a chunks_num. It reads numbers, their texts, and null for 0.
type Count int

// maxCount bounds what a broken metadata object makes us look for: ten terabytes
// in the smallest usual objects.
const maxCount = 1 << 24

// UnmarshalJSON reads a count.
func (c *Count) UnmarshalJSON(text []byte) error {
	trimmed := strings.Trim(string(text), `"`)
	if trimmed == "null" || trimmed == "" {
		*c = 0
		return nil
	}
	n, err := strconv.Atoi(trimmed)
	if err != nil || n < 0 || n > maxCount {
		return fmt.Errorf("chunks_num %s is not a count", text)
	}
	*c = Count(n)
	return nil
}

var _ json.Unmarshaler = (*Count)(nil)

// Key returns the key of the n-th data object, n from 1.
func Key(n int) string { return Prefix + strconv.Itoa(n) }

// Number returns the n of Key(n), or 0 for another key.
func Number(key string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(key, Prefix))
	if err != nil || n < 1 || Key(n) != key {
		return 0
	}
	return n
}

// maxLooks bounds how many objects that no listing shows are looked for. More than
// that are no lag: the count is wrong.
const maxLooks = 1024

// parallelLooks is how many objects are looked at one by one at a time.
const parallelLooks = 8

// Keys returns the keys of the data objects, data_1 to data_<count>. It fails
// with ErrCount if one of them is missing, or if there is data where the count
// is 0, which is a backup that was not finished.
//
// A listing may lag behind, as Swift's do for a while under load: an object that
// is not listed is looked for itself. Listed objects beyond the count are left
// alone for the same reason, and because the checksum tells what is right.
func Keys(ctx context.Context, section *bank.Section, count Count) ([]string, error) {
	listed, err := section.List(ctx, bank.ListOptions{Prefix: Prefix})
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for _, key := range listed {
		n := Number(key)
		if count == 0 && n > 0 {
			return nil, fmt.Errorf("%w: %s where the metadata knows of no data", ErrCount, key)
		}
		if n > 0 && n <= int(count) {
			found[n] = true
		}
	}
	if missing := int(count) - len(found); missing > maxLooks {
		return nil, fmt.Errorf("%w: %d objects of %d are missing", ErrCount, missing, count)
	}
	keys := make([]string, count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLooks)
	for i := range keys {
		keys[i] = Key(i + 1)
		if !found[i+1] {
			group.Go(func() error { return look(ctx, section, keys[i]) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return keys, nil
}

// look fails with ErrCount if there is no such object.
func look(ctx context.Context, section *bank.Section, key string) error {
	body, err := section.Open(ctx, key)
	if errors.Is(err, bank.ErrNotFound) {
		return fmt.Errorf("%w: %s is missing", ErrCount, key)
	}
	if err != nil {
		return err
	}
	return body.Close()
}
