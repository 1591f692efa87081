// SPDX-License-Identifier: Apache-2.0

package workflow_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/pkg/workflow"
)

const large = 100_000

// columns is the graph that testdata/taskflow_bench.py builds: so many chains
// of tasks beside each other.
func columns(tasks, width int, t workflow.Task) *workflow.Graph {
	g := workflow.New()
	for i := range tasks {
		id := g.Add(t)
		if i >= width {
			g.Link(id-workflow.ID(width), id)
		}
	}
	return g
}

func empty(context.Context) error { return nil }

func BenchmarkRun(b *testing.B) {
	for _, width := range []int{1, 10, 1000, large} {
		for _, workers := range []int{2, 1000} {
			b.Run(fmt.Sprintf("width=%d/workers=%d", width, workers), func(b *testing.B) {
				g := columns(large, width, workflow.Task{Name: "empty", Run: empty})
				b.ReportAllocs()
				for b.Loop() {
					if err := workflow.Run(context.Background(), g, workflow.Options{Workers: workers}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*large/b.Elapsed().Seconds(), "tasks/s")
			})
		}
	}
}

// BenchmarkRunSmall is the graph to compare with taskflow_bench.py 1000.
func BenchmarkRunSmall(b *testing.B) {
	const tasks = 1000
	g := columns(tasks, 10, workflow.Task{Name: "empty", Run: empty})
	for b.Loop() {
		if err := workflow.Run(context.Background(), g, workflow.Options{Workers: 2}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*tasks/b.Elapsed().Seconds(), "tasks/s")
}
