// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// Restored is the part of a State about the new volume of a restore.
type Restored struct {
	// Mark is this restore's own.
	Mark   string `json:"mark,omitempty"`
	Volume Made   `json:"volume"`
}

// Order returns that of the new volume. newID makes up the mark, which is saved
// with the state before the volume is made.
func (r *Restored) Order(c *protection.Call, newID func() string, save func() error) Order {
	if r.Mark == "" {
		r.Mark = newID()
	}
	return Order{Kind: Volumes, Marks: MarksOf(c).Restore(r.Mark), Made: &r.Volume, Save: save}
}

// Unrestore returns the Undo of a Restore. remove deletes what it has made.
func (f Frame) Unrestore(remove protection.Hook) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		err := remove(ctx, c)
		if err == nil {
			return nil
		}
		if again := protection.Handover(ctx, err); again != nil {
			return again
		}
		err = protection.Because(ctx, err)
		return fault.DeleteResourceFailed(f.Title, Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
	}
}

// Join puts errors together, with all their reasons. Nil ones do not count.
func Join(failures ...error) error {
	joined := errors.Join(failures...)
	if joined == nil {
		return nil
	}
	text := ""
	for _, err := range failures {
		switch {
		case err == nil:
		case text == "":
			text = Reason(err)
		default:
			text += "; " + Reason(err)
		}
	}
	return &Failure{Text: text, Err: joined}
}
