// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank"
)

// Spoil is a way in which the object under a key becomes one that cannot be used,
// as other people and failing disks do it. The object is there before. Undo is for
// the end of the test; nil is nothing.
type Spoil func(t *testing.T, key string) (undo func())

// Spoils adds ways to spoil one object of the store, by name.
func Spoils(ways map[string]Spoil) Option { return func(s *suite) { s.spoils = ways } }

// Break is a way in which the whole store fails. Undo ends it.
type Break func(t *testing.T, p bank.Plugin) (undo func())

// Breaks adds ways in which the store fails, by name.
func Breaks(ways map[string]Break) Option { return func(s *suite) { s.breaks = ways } }

// testSpoiled spoils one object among others in each way: its own operations say
// that it is unusable, and those of the others are as before.
func (s *suite) testSpoiled(t *testing.T) {
	for name, spoil := range s.spoils {
		t.Run(name, func(t *testing.T) {
			base := s.base + strings.ReplaceAll(name, " ", "-") + "/"
			bad, before, after := base+"b/index.json", base+"a/index.json", base+"c/index.json"
			for _, key := range []string{before, bad, after} {
				s.put(t, key, key)
			}
			if undo := spoil(t, bad); undo != nil {
				defer undo()
			}
			o, err := s.plugin.Get(t.Context(), bad)
			if err == nil {
				_, err = io.Copy(io.Discard, o.Body)
				o.Body.Close()
			}
			if !errors.Is(err, bank.ErrUnusable) || errors.Is(err, bank.ErrNotFound) {
				t.Errorf("get gives %v, which is not ErrUnusable", err)
			}
			for _, key := range []string{before, after} {
				if body, _ := s.get(t, key); string(body) != key {
					t.Errorf("object %s holds %q", key, body)
				}
			}
			for _, options := range []bank.ListOptions{{}, {Descending: true}, {Limit: 10}} {
				options.Prefix = base
				keys, err := s.plugin.List(t.Context(), options)
				var partial *bank.PartialError
				if err != nil && !errors.As(err, &partial) {
					t.Errorf("listing fails: %v", err)
				}
				for _, key := range []string{before, after} {
					if !slices.Contains(keys, key) {
						t.Errorf("listing %+v lacks %s: %q", options, key, keys)
					}
				}
			}
			// A removal may succeed: permissions to read and to remove differ.
			if err := s.plugin.Delete(t.Context(), bad); err != nil && !errors.Is(err, bank.ErrUnusable) {
				t.Errorf("delete gives %v, which is not ErrUnusable", err)
			}
			for _, key := range []string{before, after} {
				if err := s.plugin.Delete(t.Context(), key); err != nil {
					t.Errorf("delete %s: %v", key, err)
				}
			}
		})
	}
}

// testOutage lets the store fail: no operation says that it is about one object,
// that there is none, or that a listing is empty.
func (s *suite) testOutage(t *testing.T) {
	for name, fail := range s.breaks {
		t.Run(name, func(t *testing.T) {
			base := s.base + strings.ReplaceAll(name, " ", "-") + "/"
			s.put(t, base+"a/index.json", "x")
			undo := fail(t, s.plugin)
			o, getErr := s.plugin.Get(t.Context(), base+"a/index.json")
			if getErr == nil {
				_, getErr = io.Copy(io.Discard, o.Body)
				o.Body.Close()
			}
			_, below := s.plugin.List(t.Context(), bank.ListOptions{Prefix: base})
			_, all := s.plugin.List(t.Context(), bank.ListOptions{Prefix: "/banktest/"})
			deleteErr := s.plugin.Delete(t.Context(), base+"a/index.json")
			undo()
			for operation, err := range map[string]error{
				"get": getErr, "list": below, "list of the section": all, "delete": deleteErr,
			} {
				var partial *bank.PartialError
				if err == nil || errors.Is(err, bank.ErrUnusable) || errors.Is(err, bank.ErrNotFound) || errors.As(err, &partial) {
					t.Errorf("%s gives %v in an outage", operation, err)
				}
			}
			if body, _ := s.get(t, base+"a/index.json"); string(body) != "x" {
				t.Errorf("after the outage the object holds %q", body)
			}
		})
	}
}
