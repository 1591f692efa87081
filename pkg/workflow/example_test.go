// SPDX-License-Identifier: Apache-2.0

package workflow_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/pkg/workflow"
)

// The second step fails: it and the first are reverted, the third never runs.
func ExampleRun() {
	step := func(name string, err error) workflow.Task {
		return workflow.Task{
			Name: name,
			Run:  func(context.Context) error { fmt.Println("run", name); return err },
			Revert: func(_ context.Context, cause error) error {
				fmt.Println("revert", name, "because of:", cause)
				return nil
			},
		}
	}
	g := workflow.New()
	reserve := g.Add(step("reserve", nil))
	upload := g.Add(step("upload", errors.New("no space left")))
	publish := g.Add(step("publish", nil))
	g.Link(reserve, upload)
	g.Link(upload, publish)

	fmt.Println(workflow.Run(context.Background(), g, workflow.Options{Workers: 4}))
	// Output:
	// run reserve
	// run upload
	// revert upload because of: no space left
	// revert reserve because of: no space left
	// task upload: no space left
}
