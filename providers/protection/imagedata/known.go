// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/providers/protection"
)

// KnownObjects names the data objects that the metadata counts, to
// hook.Purge and hook.Frame.Copy. A backup whose metadata is missing,
// altered or no JSON has none to be named; it can be deleted still.
func KnownObjects(ctx context.Context, c *protection.Call) ([]string, error) {
	text, err := c.Section.GetBytes(ctx, protection.MetadataKey)
	if errors.Is(err, bank.ErrNotFound) || errors.Is(err, bank.ErrAltered) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var about struct {
		Chunks Count `json:"chunks_num"`
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, nil
	}
	keys := make([]string, about.Chunks)
	for i := range keys {
		keys[i] = Key(i + 1)
	}
	return keys, nil
}

// knownManifest names the manifest to hook.Purge, which a listing may lack:
// a backup of the original has none.
func knownManifest(context.Context, *protection.Call) ([]string, error) {
	return []string{ManifestKey}, nil
}
