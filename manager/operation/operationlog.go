// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/workflow"
)

// operationLog is an operation's row in operation_logs, whose id is that of the
// operation. A database that is away does not stop the operation: the row is
// made later, at the latest when it ends.
type operationLog struct {
	engine *Engine
	log    logrus.FieldLogger

	mu   sync.Mutex
	row  database.OperationLog
	made bool
}

// openLog makes the row of an operation. karbor: flows/utils.py create_operation_log
func (e *Engine) openLog(ctx context.Context, r *run, row database.OperationLog) *operationLog {
	row.ID = r.entry.ID
	row.StartedAt = r.entry.CreatedAt
	l := &operationLog{engine: e, log: r.log, row: row}
	l.attempt(ctx, database.OperationLogUpdate{})
	return l
}

// row is the row of an operation that changes a checkpoint.
func (o *change) row() database.OperationLog {
	row := database.OperationLog{
		ProjectID: o.entry.ProjectID, OperationType: o.entry.Kind, CheckpointID: o.entry.CheckpointID,
		PlanID: o.entry.PlanID, ProviderID: o.entry.ProviderID,
	}
	if o.cp != nil {
		plan := o.cp.Plan()
		row.ProjectID, row.PlanID, row.ProviderID = o.cp.ProjectID(), plan.ID, plan.ProviderID
		row.ScheduledOperationID, row.Status = scheduledOperation(o.cp.ExtraInfo()), string(o.cp.Status())
	}
	return row
}

// scheduledOperation finds the scheduled operation that asked for a checkpoint
// in its extra_info: a JSON text within a JSON string.
// karbor: flows/utils.py create_operation_log
func scheduledOperation(extraInfo json.RawMessage) string {
	var text string
	if json.Unmarshal(extraInfo, &text) != nil {
		return ""
	}
	var info struct {
		CreatedBy            string `json:"created_by"`
		ScheduledOperationID string `json:"scheduled_operation_id"`
	}
	if json.Unmarshal([]byte(text), &info) != nil || info.CreatedBy != "operation-engine" {
		return ""
	}
	return info.ScheduledOperationID
}

// set writes a status on the way. It may be lost with the database: the end
// will not be.
func (l *operationLog) set(ctx context.Context, status string) {
	l.attempt(ctx, database.OperationLogUpdate{Status: &status})
}

func (l *operationLog) attempt(ctx context.Context, u database.OperationLogUpdate) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := l.write(ctx, u); err != nil {
		l.log.Warnf("operation log %s is written later: %s", l.row.ID, fault.Detail(err))
	}
}

// end closes the row.
func (l *operationLog) end(ctx context.Context, status string, cause error) error {
	ended := l.engine.Now().UTC()
	u := database.OperationLogUpdate{Status: &status, EndedAt: &ended}
	if cause != nil {
		text := describe(cause)
		u.ErrorInfo = &text
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := l.write(ctx, u); err != nil {
		return fmt.Errorf("close operation log %s: %w", l.row.ID, err)
	}
	return nil
}

// endLog closes an operation's row. One that the database refuses for good keeps no
// operation from its end.
func (r *run) endLog(ctx context.Context, l *operationLog, status string, cause error) error {
	err := r.settle(ctx, "write status "+status+" into the operation log", func(ctx context.Context) error {
		return l.end(ctx, status, cause)
	})
	if database.Refused(err) != nil {
		r.log.Errorf("the operation log stays as it is: %s", fault.Detail(err))
		return nil
	}
	return err
}

func (l *operationLog) write(ctx context.Context, u database.OperationLogUpdate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.made {
		if _, err := l.engine.Records.CreateOperationLog(ctx, &l.row); err != nil {
			return err
		}
		l.made = true
	}
	if u == (database.OperationLogUpdate{}) {
		return nil
	}
	return l.engine.Records.UpdateOperationLog(ctx, l.row.ID, u)
}

// errorInfoLength bounds what one failure leaves in the database. The column is
// a TEXT of MySQL, 64 KiB; a reader needs the beginning.
const errorInfoLength = 4096

// describe gives the text of a failure for users and the log: the first failed
// task's error, with its causes.
func describe(err error) string {
	var failed *workflow.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	text := fault.Detail(err)
	if len(text) > errorInfoLength {
		text = strings.ToValidUTF8(text[:errorInfoLength], "") + "..."
	}
	return text
}
