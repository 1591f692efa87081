// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
)

// BenchmarkList lists a bank of 2500 checkpoints in a directory.
func BenchmarkList(b *testing.B) {
	plugin, err := filesystem.New(filesystem.Config{Path: b.TempDir(), Container: "karbor"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(1795362440, 0)
	c := checkpoint.NewCollection(bank.New(plugin, nil), provider, checkpoint.Options{
		Clock: func() time.Time { now = now.Add(time.Minute); return now },
	})
	for range 2500 {
		if _, err := c.Create(b.Context(), checkpoint.CreateOptions{Plan: plan}); err != nil {
			b.Fatal(err)
		}
	}
	for name, o := range map[string]checkpoint.ListOptions{
		"all":      {ProjectID: project},
		"newest10": {ProjectID: project, Limit: 10, Descending: true},
		"page1000": {ProjectID: project, Limit: 1000, Descending: true},
		"plan":     {ProjectID: project, PlanID: plan.ID},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				list, err := c.List(b.Context(), o)
				if err != nil || len(list) == 0 {
					b.Fatalf("%d checkpoints, %v", len(list), err)
				}
			}
		})
	}
}
