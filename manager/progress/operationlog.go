// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
)

// WriteTime bounds one database write in the course of an operation, which continues without it.
const WriteTime = 5 * time.Second

// Logs is the table operation_logs. Its methods are idempotent: an existing row is not created
// again.
type Logs interface {
	CreateOperationLog(ctx context.Context, row *database.OperationLog) (string, error)
	UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error
}

// OperationLog is the row of an operation in operation_logs. Its id is the operation's. An outage
// of the database does not stop the operation: the row is created later, at the latest when the
// operation ends. It is not safe for concurrent use.
type OperationLog struct {
	logs Logs
	log  logrus.FieldLogger
	row  database.OperationLog
	made bool
}

// OpenLog creates the row of an operation. karbor: flows/utils.py create_operation_log
func OpenLog(ctx context.Context, logs Logs, log logrus.FieldLogger, row database.OperationLog) *OperationLog {
	l := &OperationLog{logs: logs, log: log, row: row}
	l.try(ctx, database.OperationLogUpdate{})
	return l
}

// Set writes an intermediate status. It may be lost in an outage of the database, unlike the final
// one.
func (l *OperationLog) Set(ctx context.Context, status string) {
	l.try(ctx, database.OperationLogUpdate{Status: &status})
}

func (l *OperationLog) try(ctx context.Context, u database.OperationLogUpdate) {
	if err := l.write(ctx, u); err != nil {
		l.log.Warnf("operation log %s is written later: %s", l.row.ID, fault.Detail(err))
	}
}

// End closes the row. reason says why the operation failed, and is empty if it did not.
func (l *OperationLog) End(ctx context.Context, status, reason string, now time.Time) error {
	u := database.OperationLogUpdate{Status: &status, EndedAt: &now}
	if reason != "" {
		text := failure.Cut(reason)
		u.ErrorInfo = &text
	}
	if err := l.write(ctx, u); err != nil {
		return fmt.Errorf("closing operation log %s: %w", l.row.ID, err)
	}
	return nil
}

func (l *OperationLog) write(ctx context.Context, u database.OperationLogUpdate) error {
	ctx, cancel := context.WithTimeout(ctx, WriteTime)
	defer cancel()
	if !l.made {
		if _, err := l.logs.CreateOperationLog(ctx, &l.row); err != nil {
			return err
		}
		l.made = true
	}
	if u == (database.OperationLogUpdate{}) {
		return nil
	}
	return l.logs.UpdateOperationLog(ctx, l.row.ID, u)
}
