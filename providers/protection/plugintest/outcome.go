// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
)

// outcome is what an operation came to.
type outcome struct {
	Inventory []string
	Objects   map[string]string // of the resource's section
	Restored  []string          // original and new ids
	Statuses  []string          // the last ones of each resource that is not deleted
	Remarks   []string          // of all runs, without their reasons
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// longText is the size from which objects are compared by their digest.
const longText = 4 << 10

func (s *stage) outcome() (outcome, error) {
	var o outcome
	var err error
	if o.Inventory, err = s.inventory(); err != nil {
		return o, err
	}
	if o.Objects, err = s.objects(); err != nil {
		return o, err
	}
	names := map[string]string{s.source: "checkpoint", s.copied: "copy", s.world.Resource.ID: "resource"}
	plain := func(text string) string {
		if s.world.Normalize != nil {
			text = s.world.Normalize(text)
		}
		return uuids.ReplaceAllStringFunc(text, func(id string) string {
			if names[id] == "" {
				names[id] = fmt.Sprintf("id%d", len(names))
			}
			return names[id]
		})
	}
	for _, key := range slices.Sorted(maps.Keys(o.Objects)) {
		o.Objects[key] = plain(o.Objects[key])
	}
	for _, original := range slices.Sorted(maps.Keys(s.restored)) {
		o.Restored = append(o.Restored, plain(original+" as "+s.restored[original]))
	}
	// A later run may give another reason for the same remark.
	said := s.remarks.list.Document().Remarks
	full := remark.Text(said)
	for i := range said {
		said[i].Why = ""
	}
	last := map[string]Record{}
	for _, record := range s.status.Records() {
		last[record.ID] = record
	}
	for _, record := range last {
		if record.Status != protection.StatusDeleted {
			o.Statuses = append(o.Statuses, fmt.Sprintf("%s %s %s", record.Type, record.Status, plain(strings.Replace(record.Reason, full, remark.Text(said), 1))))
		}
	}
	slices.Sort(o.Statuses)
	for _, r := range said {
		o.Remarks = append(o.Remarks, plain(r.Resource.Type+" "+r.Resource.ID+" "+r.String()))
	}
	return o, nil
}

// objects reads the resource's section of the checkpoint that is written.
func (s *stage) objects() (map[string]string, error) {
	id := s.source
	if s.copied != "" {
		id = s.copied
	}
	cp, err := s.collection(s.bank).Get(s.ctx, id)
	if err != nil {
		return nil, err
	}
	return read(s, cp)
}

func read(s *stage, cp *checkpoint.Checkpoint) (map[string]string, error) {
	section, err := cp.Section(s.world.Resource.ID)
	if err != nil {
		return nil, err
	}
	keys, err := section.List(s.ctx, bank.ListOptions{})
	if err != nil {
		return nil, err
	}
	objects := map[string]string{}
	for _, key := range keys {
		o, err := s.bank.Get(s.ctx, section.Path()+key)
		if errors.Is(err, bank.ErrNotFound) {
			continue // the listing lags behind
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		body, err := io.ReadAll(o.Body)
		o.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		objects[key] = string(body)
		if len(body) > longText || !utf8.Valid(body) {
			objects[key] = fmt.Sprintf("%d bytes, SHA-256 %x", len(body), sha256.Sum256(body))
		}
	}
	return objects, nil
}

func list(objects map[string]string) string {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		fmt.Fprintf(&text, "\n%s: %s", key, objects[key])
	}
	return text.String()
}
