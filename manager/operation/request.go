// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
)

// Request is what an Engine needs to know of the message that asks for an
// operation.
type Request struct {
	// Key is the same when the message is delivered again, and no other
	// message's. Empty is none: then a repetition is a request of its own.
	Key string
	// Accepted is called once the operation is durable, so that nobody need
	// keep the message any longer; nil if nobody wants to know.
	Accepted func()
}

type requestKey struct{}

// WithRequest lets the operation that is begun under ctx know of its message.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

func requestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// Answered finds the answer that the message of ctx was given before, perhaps
// by another worker: the JSON of the result, or the error. ok is false for a
// message that is new.
func (e *Engine) Answered(ctx context.Context) (answer json.RawMessage, ok bool, err error) {
	request := requestOf(ctx)
	if request.Key == "" {
		return nil, false, nil
	}
	entry, err := e.journal.Find(ctx, request.Key)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, unrecorded(err)
	}
	request.accepted()
	answer, err = e.answer(ctx, entry)
	return answer, true, err
}

// answer is what the caller of an entry's request is told.
func (e *Engine) answer(ctx context.Context, entry *journal.Entry) (json.RawMessage, error) {
	verdict, err := e.verdictOf(ctx, entry.ID)
	if err != nil {
		return nil, unrecorded(err)
	}
	if verdict != nil && verdict.Refused != "" {
		return nil, fault.FlowError(entry.Kind, verdict.Refused)
	}
	in, err := decodeInput(entry.Input)
	if err != nil {
		return nil, err
	}
	return in.Answer, nil
}

// repeated is the answer to a message whose first delivery got ahead meanwhile.
func repeated[T any](ctx context.Context, e *Engine) (T, error) {
	answer, _, err := e.Answered(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return decodeAnswer[T](answer)
}

func decodeAnswer[T any](answer json.RawMessage) (result T, err error) {
	if json.Unmarshal(answer, &result) != nil {
		err = fault.KarborException("The request was answered before in another way")
	}
	return result, err
}

func (r Request) accepted() {
	if r.Accepted != nil {
		r.Accepted()
	}
}

// unrecorded is the answer to a request that could not be made durable: the
// caller may ask again.
func unrecorded(err error) error {
	why := "the database does not answer"
	if r := database.Refused(err); r != nil {
		why = r.Advice()
	}
	return fault.KarborException("The operation cannot be recorded: " + why).WithCause(err)
}
