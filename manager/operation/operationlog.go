// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
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
