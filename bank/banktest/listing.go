// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// testListing compares every combination of options with a plain reading of
// the contract.
func (s *suite) testListing(t *testing.T) {
	names := []string{
		// Byte order is neither that of a walk through directories nor that
		// of a dictionary: "-" "." "/" "0" "@" "A" "_" "a".
		"x-1", "x.1", "x/1", "x/10", "x/2", "x/sub/1", "x/sub-1", "x/sub@1", "x0", "x@1", "X", "x_1", "xa",
		"y/1@a", "y/1@b", "y/2@a",
	}
	var all []string
	for _, name := range names {
		s.put(t, s.base+name, "")
		all = append(all, s.base+name)
	}
	slices.Sort(all)

	prefixes := []string{"", "x", "x/", "x/sub", "x/sub/", "x/1", "y/1@", "z", "z/", "xa/"}
	markers := []string{"", "X", "a", "x", "x/", "x/1", "x/15", "x/sub/1", "x/sub/zz", "x0", "y/1@a", "y/2@a", "zz", "0"}
	for _, prefix := range prefixes {
		for _, marker := range markers {
			for _, limit := range []int{0, 1, 2, 5, len(names), 1000} {
				for _, descending := range []bool{false, true} {
					o := bank.ListOptions{Prefix: s.base + prefix, Limit: limit, Descending: descending}
					if marker != "" {
						o.Marker = s.base + marker
					}
					want, got := expected(all, o), s.list(t.Context(), t, o)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("prefix %q marker %q limit %d descending %t (-want +got):\n%s",
							prefix, marker, limit, descending, diff)
					}
				}
			}
		}
	}
}

// expected is the listing of sorted keys, one condition after the other.
func expected(keys []string, o bank.ListOptions) []string {
	keys = slices.Clone(keys)
	if o.Descending {
		slices.Reverse(keys)
	}
	listed := []string{}
	for _, key := range keys {
		after := o.Marker == "" || !o.Descending && key > o.Marker || o.Descending && key < o.Marker
		if after && strings.HasPrefix(key, o.Prefix) && (o.Limit == 0 || len(listed) < o.Limit) {
			listed = append(listed, key)
		}
	}
	return listed
}

// testLongListing lists more objects than a store gives at a time.
func (s *suite) testLongListing(t *testing.T) {
	all := make([]string, s.many)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range all {
		all[i] = fmt.Sprintf("%sdir%03d/%08d", s.base, i/100, i)
		group.Go(func() error { return s.plugin.Put(ctx, all[i], upload(nil, false)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []bank.ListOptions{
		{},
		{Descending: true},
		{Limit: s.many - 1},
		{Limit: s.many, Marker: all[0]},
		{Limit: s.many - 1, Descending: true, Marker: all[s.many-1]},
		{Limit: 3, Marker: all[s.many/2]},
		{Limit: 3, Marker: all[s.many/2], Descending: true},
	} {
		o.Prefix = s.base
		want, got := expected(all, o), s.list(t.Context(), t, o)
		if !slices.Equal(want, got) {
			t.Errorf("%+v: listed %d keys instead of %d, or other ones", o, len(got), len(want))
		}
	}
	// A caller may page through it, too.
	var paged []string
	marker := ""
	for page := s.many/3 + 1; ; {
		keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base, Marker: marker, Limit: page})
		paged = append(paged, keys...)
		if len(keys) < page {
			break
		}
		marker = keys[len(keys)-1]
	}
	if !slices.Equal(all, paged) {
		t.Errorf("pages hold %d keys instead of %d, or other ones", len(paged), len(all))
	}
}
