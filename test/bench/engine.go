// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/karbor-project/karbor/pkg/workflow"
)

// The graph of pkg/workflow/testdata/taskflow_bench.py: chains of empty tasks
// beside each other.
const (
	engineTasks   = 1000
	engineWidth   = 10
	engineWorkers = 2
	engineRuns    = 3
)

// engine measures the task engine.
func (b *bench) engine(ctx context.Context) error {
	progress("running tasks")
	r := row{name: "empty tasks", unit: "1/s", more: true}
	var took []time.Duration
	for range 100 * engineRuns { // each is short
		g := chains()
		begin := time.Now()
		if err := workflow.Run(ctx, g, workflow.Options{Workers: engineWorkers}); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
	r.ours = engineTasks / median(took).Seconds()
	if b.has("taskflow") {
		var rates []float64
		for range engineRuns {
			rate, err := printed(ctx, "pkg/workflow/testdata/taskflow_bench.py",
				strconv.Itoa(engineTasks), strconv.Itoa(engineWidth), strconv.Itoa(engineWorkers))
			if err != nil {
				return err
			}
			rates = append(rates, rate...)
		}
		if len(rates) == 0 {
			return errors.New("taskflow_bench.py printed nothing")
		}
		slices.Sort(rates)
		r.peer = rates[len(rates)/2]
	} else {
		b.notes = append(b.notes, "The task engine has no peer: python3-taskflow is not installed, or not wanted.")
	}
	b.table.heading(fmt.Sprintf("Task engine: %d tasks in %d chains, %d workers, median of %d runs", engineTasks, engineWidth, engineWorkers, engineRuns))
	b.table.add(r)
	return nil
}

func chains() *workflow.Graph {
	g := workflow.New()
	for i := range engineTasks {
		id := g.Add(workflow.Task{Name: "empty", Run: func(context.Context) error { return nil }})
		if i >= engineWidth {
			g.Link(id-engineWidth, id)
		}
	}
	return g
}
