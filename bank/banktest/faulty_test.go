// SPDX-License-Identifier: Apache-2.0

package banktest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

func TestFaultyWithoutFaults(t *testing.T) {
	t.Parallel()
	banktest.Run(t, func(*testing.T) bank.Plugin { return banktest.NewFaulty(banktest.NewMemory()) }, banktest.Many(100))
}

func TestOutages(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for name, c := range map[string]struct {
		outage banktest.Outage
		err    error
		there  []string // after a write of /a/1 and /b/1 in the outage
	}{
		"refused":      {banktest.Outage{Err: away}, away, []string{}},
		"lost answers": {banktest.Outage{Err: away, Late: true}, away, []string{"/a/1", "/b/1"}},
		"one place":    {banktest.Outage{Err: away, Prefix: "/a/"}, away, []string{"/b/1"}},
		"reads only":   {banktest.Outage{Err: away, Methods: []banktest.Method{banktest.Get}}, nil, []string{"/a/1", "/b/1"}},
		"silence":      {banktest.Outage{Hang: true}, context.DeadlineExceeded, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				faulty := banktest.NewFaulty(banktest.NewMemory())
				section, err := bank.New(faulty, nil).Section("/")
				if err != nil {
					t.Fatal(err)
				}
				faulty.Last(time.Hour, c.outage)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := section.PutText(ctx, "a/1", "x"); !errors.Is(err, c.err) {
					t.Errorf("in the outage: %v", err)
				}
				_ = section.PutText(ctx, "b/1", "x")
				time.Sleep(50 * time.Minute)
				if c.outage.Hang { // whoever waits for the end is served
					if err := section.PutText(t.Context(), "c/1", "x"); err != nil {
						t.Error(err)
					}
					if err := section.Delete(t.Context(), "c/1"); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(20 * time.Minute)
				keys, err := faulty.List(t.Context(), bank.ListOptions{Prefix: "/"})
				if err != nil || !slices.Equal(keys, c.there) {
					t.Errorf("after it there are %v, %v", keys, err)
				}
			})
		})
	}
}
