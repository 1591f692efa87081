// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// dict is a Python dict of strings in a JSON column. It keeps the order of its keys, as
// Python does, so that reading and writing a text leaves it unchanged.
//
// karbor: objects/base.py, DictOfStringsField through oslo_serialization
type dict struct {
	keys   []string
	values map[string]json.RawMessage
}

// parseDict parses a column; empty text is an empty dict.
func parseDict(text string) (*dict, error) {
	d := &dict{values: map[string]json.RawMessage{}}
	if text == "" {
		return d, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	open, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	if open == nil { // null
		return d, nil
	}
	if open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		d.put(key.(string), value) // a key is always a string
	}
	_, err = decoder.Token()
	return d, err
}

func (d *dict) put(key string, value json.RawMessage) {
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// merge sets entries. New keys are appended in sorted order.
func (d *dict) merge(entries map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		d.put(key, pyjson.AppendString(nil, entries[key]))
	}
}

// text returns the dict as json.dumps writes it.
func (d *dict) text() (string, error) {
	text := []byte{'{'}
	for i, key := range d.keys {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(pyjson.AppendString(text, key), ": "...)
		var err error
		if text, err = pyjson.Append(text, d.values[key]); err != nil {
			return "", err
		}
	}
	return string(append(text, '}')), nil
}

// strings returns the dict as a map. A value that is not a string becomes its JSON
// text.
func (d *dict) strings() map[string]string {
	m := make(map[string]string, len(d.keys))
	for key, raw := range d.values {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		m[key] = s
	}
	return m
}

// mergeColumn returns the content of a column of at most limit bytes after entries are
// set in it. Text that is not a dict is useless to every reader and is replaced.
func mergeColumn(text string, entries map[string]string, limit int) (string, error) {
	d, err := parseDict(text)
	if err != nil {
		d = &dict{values: map[string]json.RawMessage{}}
	}
	d.withoutSummaries()
	d.merge(entries)
	return d.fitted(limit)
}

// summary matches the key of an entry that stands for others that did not fit:
// "OS::Cinder::Volume#290 more available". It has the form of every key, type#id, so
// that older readers accept it.
var summary = regexp.MustCompile(`^[^#]*#\d+ more( .*)?$`)

// withoutSummaries drops summaries. A caller whose dict may not fit passes all entries
// each time.
func (d *dict) withoutSummaries() {
	d.keys = slices.DeleteFunc(d.keys, func(key string) bool {
		stands := summary.MatchString(key)
		if stands {
			delete(d.values, key)
		}
		return stands
	})
}

// shortened lists the lengths to which values are cut, one after the other, while a
// dict does not fit.
var shortened = []int{2048, 1024, 512, 256, 128, 64}

const (
	summaryValue = 64 // bytes of a value in the key of a summary
	summaryKinds = 16 // summaries at most
)

// fitted returns the dict as json.dumps writes it, in at most limit bytes; 0 is no
// limit. Values are shortened first. If that is not enough, entries of one type with the
// same value become a count.
func (d *dict) fitted(limit int) (string, error) {
	text, err := d.text()
	if err != nil || limit == 0 || len(text) <= limit {
		return text, err
	}
	for _, most := range shortened {
		short := d.shorter(most)
		if text, err = short.text(); err != nil || len(text) <= limit {
			return text, err
		}
	}
	return d.shorter(summaryValue).counted(limit)
}

// shorter returns the dict with values cut to the given number of bytes, each cut one
// with a mark.
func (d *dict) shorter(most int) *dict {
	short := &dict{values: map[string]json.RawMessage{}}
	for key, value := range d.strings() {
		short.values[key] = d.values[key]
		if len(value) > most {
			short.values[key] = pyjson.AppendString(nil, cutText(value, most)+"...")
		}
	}
	short.keys = d.keys
	return short
}

// counted keeps as many entries as fit, the exceptions first, and counts the rest.
func (d *dict) counted(limit int) (string, error) {
	type group struct{ kind, value string }
	values := d.strings()
	groupOf := func(key string) group {
		kind, _, _ := strings.Cut(key, "#")
		return group{kind, values[key]}
	}
	size := map[group]int{}
	for _, key := range d.keys {
		size[groupOf(key)]++
	}
	ranked := slices.Clone(d.keys)
	slices.SortStableFunc(ranked, func(a, b string) int { return cmp.Compare(size[groupOf(a)], size[groupOf(b)]) })

	// Any number of kept entries works if the counts of the rest also fit. The text
	// grows almost monotonically with that number, so the search finds one near the
	// maximum.
	try := func(kept int) (string, error) {
		keep := map[string]bool{}
		for _, key := range ranked[:kept] {
			keep[key] = true
		}
		rest := map[group]int{}
		for _, key := range ranked[kept:] {
			rest[groupOf(key)]++
		}
		if len(rest) > summaryKinds {
			all := map[group]int{}
			for g, n := range rest {
				all[group{kind: g.kind}] += n
			}
			rest = all
		}
		short := &dict{values: map[string]json.RawMessage{}}
		for _, key := range d.keys {
			if keep[key] {
				short.put(key, d.values[key])
			}
		}
		for _, g := range slices.SortedFunc(maps.Keys(rest), func(a, b group) int {
			return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.value, b.value))
		}) {
			key := strings.TrimRight(fmt.Sprintf("%s#%d more %s", g.kind, rest[g], g.value), " ")
			short.put(key, pyjson.AppendString(nil, g.value))
		}
		return short.text()
	}
	best := "{}"
	low, high := 0, len(ranked)
	for low <= high {
		middle := (low + high) / 2
		text, err := try(middle)
		if err != nil {
			return "", err
		}
		if len(text) <= limit {
			best, low = text, middle+1
		} else {
			high = middle - 1
		}
	}
	return best, nil
}

// cutText cuts a text between two characters.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
