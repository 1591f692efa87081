// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
)

// Option changes the suite.
type Option func(*suite)

// Many sets the number of objects that the test of a long listing makes, 10050
// by default: more than a page of Swift.
func Many(n int) Option { return func(s *suite) { s.many = n } }

// Flickering is for a store that may not find an object in the moment in which
// it is overwritten: a Swift object server that opens the file of an object just
// when a newer one takes its place answers 404.
func Flickering() Option { return func(s *suite) { s.flickering = true } }

// Run tests that the bank of newPlugin keeps the contract of bank.Plugin. The
// bank may hold objects already, and the suite leaves its own behind: all are
// below a prefix that no other run uses.
func Run(t *testing.T, newPlugin func(t *testing.T) bank.Plugin, options ...Option) {
	t.Helper()
	s := &suite{many: 10050}
	for _, option := range options {
		option(s)
	}
	s.plugin = newPlugin(t)
	for name, test := range map[string]func(*suite, *testing.T){
		"RoundTrip":        (*suite).testRoundTrip,
		"Keys":             (*suite).testKeys,
		"Sections":         (*suite).testSections,
		"Overwrite":        (*suite).testOverwrite,
		"New":              (*suite).testNew,
		"Disown":           (*suite).testDisown,
		"ShortBody":        (*suite).testShortBody,
		"BrokenBody":       (*suite).testBrokenBody,
		"NotFound":         (*suite).testNotFound,
		"Delete":           (*suite).testDelete,
		"Listing":          (*suite).testListing,
		"LongListing":      (*suite).testLongListing,
		"Concurrent":       (*suite).testConcurrent,
		"AtomicOverwrite":  (*suite).testAtomicOverwrite,
		"Cancelled":        (*suite).testCancelled,
		"CancelledMidBody": (*suite).testCancelledMidBody,
		"GuardedPut":       (*suite).testGuardedPut,
		"GuardedDelete":    (*suite).testGuardedDelete,
		"Spoiled":          (*suite).testSpoiled,
		"Outage":           (*suite).testOutage,
		"OwnerID":          (*suite).testOwnerID,
	} {
		t.Run(name, func(t *testing.T) {
			own := *s
			own.base = "/banktest/" + uuid.NewString() + "/"
			test(&own, t)
		})
	}
}

type suite struct {
	plugin bank.Plugin
	many   int
	// flickering: see Flickering
	flickering bool
	spoils     map[string]Spoil
	breaks     map[string]Break
	base       string // prefix of the keys of one test
}

func (s *suite) put(t *testing.T, key, body string) {
	t.Helper()
	if err := s.plugin.Put(t.Context(), key, upload([]byte(body), false)); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func (s *suite) get(t *testing.T, key string) (body []byte, flag bank.Flag) {
	t.Helper()
	body, flag, err := read(t.Context(), s.plugin, key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return body, flag
}

func (s *suite) list(ctx context.Context, t *testing.T, o bank.ListOptions) []string {
	t.Helper()
	keys, err := s.plugin.List(ctx, o)
	if err != nil {
		t.Fatalf("list %+v: %v", o, err)
	}
	return keys
}
