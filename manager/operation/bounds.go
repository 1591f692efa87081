// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// checkSize refuses what is more than one operation may be about. What an operation
// costs is known before it is durable: what is on record is gone on with by one
// worker after the other, whatever becomes of them.
func (e *Engine) checkSize(resources, links int) error {
	for _, bound := range []struct {
		what, option string
		count, most  int
	}{
		{"resources", "max_resources_per_operation", resources, e.MaxResources},
		{"links between resources", "max_links_per_operation", links, e.MaxLinks},
	} {
		if bound.most > 0 && bound.count > bound.most {
			return fault.InvalidInput(fmt.Sprintf("%d %s are more than one operation may have: at most %d (%s).",
				bound.count, bound.what, bound.most, bound.option)).WithCause(resource.ErrTooLarge)
		}
	}
	return nil
}

// checkGraph is checkSize for a graph as checkpoints keep it. One that cannot be read
// fails where it is needed.
func (e *Engine) checkGraph(packed string) error {
	resources, links, err := resource.Measure(packed)
	if err != nil {
		return nil
	}
	return e.checkSize(resources, links)
}

// admit refuses an operation of a project that has as much waiting, or at work, as one
// may have.
func (e *Engine) admit(project string, size int) error {
	if queued := e.scheduler.queued(project); e.Limits.Queued > 0 && queued >= e.Limits.Queued {
		return fault.InvalidInput(fmt.Sprintf("%d operations of the project wait, which is as many as may (max_queued_operations_per_project).", queued))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if held := e.held[project]; e.Limits.Bytes > 0 && held > 0 && held+size > e.Limits.Bytes {
		return fault.InvalidInput(fmt.Sprintf("The operations of the project that have not ended take %d bytes, and this one %d: at most %d (max_operation_bytes_per_project).",
			held, size, e.Limits.Bytes))
	}
	return nil
}

// graphSize is the size of a checkpoint's graph.
func graphSize(cp *checkpoint.Checkpoint) int {
	packed, _ := cp.ResourceGraph()
	return len(packed)
}

// refuseRecord says in the row of a restore or verification that it was refused:
// karbor-api has made the row and waits for no answer.
func (e *Engine) refuseRecord(ctx context.Context, kind protection.Kind, rec Record, refusal error) {
	var known *fault.Error
	if rec.New != nil || !errors.As(refusal, &known) || known.Code() >= 500 {
		return
	}
	update := e.Records.UpdateRestore
	if kind == protection.Verify {
		update = e.Records.UpdateVerification
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	status := fail
	if err := update(ctx, rec.ID, database.RecordUpdate{Status: &status}); err != nil {
		e.log.Warnf("that the %s %s was refused is not in its record: %s", kind, rec.ID, fault.Detail(err))
	}
}
