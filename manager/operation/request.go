// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
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

// begin records an operation and opens it. fresh is false when the message had
// been recorded before: then r is nil. When the operation cannot be opened, it
// ends, and the error is that of open.
func (e *Engine) begin(ctx context.Context, entry journal.Entry, in *input, p *providers.Provider) (r *run, fresh bool, err error) {
	request, caller := requestOf(ctx), requestcontext.From(ctx)
	entry.ID, entry.Owner = newID(), e.Tenure.ID()
	defer e.expect(entry.ID)()
	if entry.Key == "" {
		entry.Key = request.Key
	}
	in.Version = inputVersion
	if err := in.putCaller(caller, e.Sealer, entry.ID, e.Now()); err != nil {
		return nil, false, err
	}
	if entry.Input, err = json.Marshal(in); err != nil {
		return nil, false, fmt.Errorf("encode the input of the operation: %w", err)
	}
	sign(&entry, e.Sealer)
	if err := recordable(&entry, in); err != nil {
		return nil, false, err
	}
	size := len(entry.Input) + in.held
	if err := e.admit(entry.ProjectID, size); err != nil {
		return nil, false, err
	}
	entry.CreatedAt = e.Now().UTC()
	kept, fresh, err := e.enter(ctx, entry)
	var busy *journal.BusyError
	switch {
	case errors.As(err, &busy):
		return nil, false, inUse(in.subject(), busy)
	case err != nil:
		return nil, false, unrecorded(err)
	}
	request.accepted()
	if !fresh {
		return nil, false, nil
	}
	kept.Input = nil // in says the same
	r = e.newRun(kept, in, caller, p)
	r.job.Size = size
	if _, ok := e.enlist(r); !ok { // the service stops: who goes on answers nobody
		return nil, false, fault.KarborException("The service is stopping; the operation goes on when it is back").WithCause(ErrStopping)
	}
	if err = r.open(r.writing(ctx)); err == nil {
		err = r.build(r.writing(ctx))
	}
	if err != nil && (r.ctx.Err() != nil || errors.Is(err, protection.ErrHandover) || errors.Is(context.Cause(ctx), rpc.ErrStopped)) {
		// Nothing is wrong with the operation, but this worker has to leave it: it is
		// on record, and who goes on opens it.
		r.log.Infof("%s is opened later: %s", entry.Kind, fault.Detail(err))
		r.resumed = true
		return r, true, nil
	}
	return r, true, err
}

// enter begins an entry. Users see that an operation has ended a moment before
// its entry is closed, and may ask for the next one at once: that waits.
func (e *Engine) enter(ctx context.Context, entry journal.Entry) (journal.Entry, bool, error) {
	deadline := time.Now().Add(e.Patience)
	for {
		kept, fresh, err := e.journal.Begin(ctx, entry)
		var busy *journal.BusyError
		if !errors.As(err, &busy) || !time.Now().Before(deadline) {
			return kept, fresh, err
		}
		select {
		case <-time.After(betweenEntries):
		case <-ctx.Done():
			return kept, fresh, err
		}
	}
}

// betweenEntries is the pause between two attempts to begin an entry.
const betweenEntries = 50 * time.Millisecond

// recordable checks what users can make too large for the journal and the tables.
// What a checkpoint of somebody else's has is no reason to refuse an operation on it.
func recordable(entry *journal.Entry, in *input) error {
	for name, value := range map[string]string{
		"provider_id": entry.ProviderID, "checkpoint_id": entry.CheckpointID, "plan id": entry.PlanID,
		"project_id": entry.ProjectID, "record id": entry.RecordID,
	} {
		if len(value) > journal.MaxText || !utf8.ValidString(value) || strings.Contains(value, "\x00") {
			return fault.InvalidInput(fmt.Sprintf("%s: want a text of at most %d bytes", name, journal.MaxText))
		}
	}
	if in.Plan != nil {
		row := database.OperationLog{ProjectID: entry.ProjectID, PlanID: entry.PlanID, ScheduledOperationID: scheduledOperation(in.ExtraInfo)}
		if err := row.Check(); err != nil {
			return fault.InvalidInput(err.Error())
		}
	}
	if in.Record != nil && in.Record.New != nil {
		if err := in.Record.New.Check(); err != nil {
			return fault.InvalidInput(err.Error())
		}
	}
	if len(entry.Input) > journal.MaxInput {
		return fault.InvalidInput(fmt.Sprintf("the plan and all that depends on it take %d bytes, at most %d can be kept",
			len(entry.Input), journal.MaxInput))
	}
	return nil
}

// inUse is the answer to a request for a checkpoint that another operation is
// at work on.
func inUse(checkpointID string, busy *journal.BusyError) error {
	return fault.InvalidInput(fmt.Sprintf("Checkpoint %s is in use: a %s (operation %s) is at work on it.",
		checkpointID, busy.Other.Kind, busy.Other.ID)).WithCause(busy)
}

// prepareTime bounds the part of an operation that its caller waits for.
// karbor-api gives up after 60 seconds and then does not know of the operation.
const prepareTime = 50 * time.Second

// internalError is the text for failures whose own text is not for users.
// karbor: manager.py
const internalError = "Internal error"

// Protect starts to protect a plan's resources and all that depends on them in a
// new checkpoint. It returns the checkpoint's id, or FlowError.
func (e *Engine) Protect(ctx context.Context, p *providers.Provider, plan Plan, extraInfo json.RawMessage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return "", err
	}
	if err := e.checkSize(len(plan.Resources), 0); err != nil {
		return "", err
	}
	_, packed, graphErr := e.resourceGraph(ctx, plan.Resources)
	if graphErr == nil {
		graphErr = e.checkGraph(packed)
	}
	if errors.Is(graphErr, resource.ErrTooLarge) {
		return "", graphErr
	}
	id := newID()
	in := &input{Checkpoint: id, Plan: &plan, ExtraInfo: extraInfo, Graph: packed, Answer: answerOf(id), Digests: true}
	recording := ctx
	if graphErr != nil { // perhaps because ctx is over; the checkpoint tells of the failure all the same
		in.Refusal = describe(graphErr)
		var done context.CancelFunc
		recording, done = cleanup(ctx)
		defer done()
	}
	r, fresh, err := e.begin(recording, journal.Entry{
		Kind: string(protection.Protect), Subject: id, Exclusive: true, CheckpointID: id,
		ProviderID: p.ID, PlanID: plan.ID, ProjectID: plan.ProjectID,
	}, in, p)
	switch {
	case r == nil && err != nil:
		return "", err
	case err != nil:
		if graphErr != nil && r.work.(*protecting).cp != nil {
			err = graphErr
		}
		text := flowText(ctx, err)
		if r.work.(*protecting).cp == nil {
			text = "Error creating checkpoint"
		}
		r.refuse(ctx, err, text)
		return "", fault.FlowError("protect", text).WithCause(err)
	case !fresh:
		return repeated[string](ctx, e)
	}
	r.start()
	return id, nil
}

// answerOf is the JSON of a result.
func answerOf(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil // ids and pairs of them encode
	}
	return text
}

// flowText is what the caller may read of a failure to make a flow: the message
// of an error from the catalogue, else no more than that there was one.
func flowText(ctx context.Context, err error) string {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f.Message()
	case ctx.Err() != nil:
		return fmt.Sprintf("The flow was not ready after %.0f seconds", prepareTime.Seconds())
	}
	return internalError
}

// resourceGraph finds what the plan's resources draw in, and packs the graph.
func (e *Engine) resourceGraph(ctx context.Context, starts []resource.Resource) (*resource.Graph, string, error) {
	graph, err := e.Protectables.Graph(ctx, starts)
	if err != nil {
		return nil, "", fmt.Errorf("find the resources that depend on the plan's: %w", err)
	}
	packed, err := resource.Pack(graph)
	if err != nil {
		return nil, "", fmt.Errorf("pack the resource graph: %w", err)
	}
	return graph, packed, nil
}

// Restore starts to make new resources out of a checkpoint. The caller has
// checked that the checkpoint is available and may be read. It fails with
// FlowError.
func (e *Engine) Restore(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	return e.read(ctx, protection.Restore, p, cp, rec)
}

// Verify starts to check that a checkpoint's backups are there and whole. The
// caller has checked that the checkpoint is available and may be read. It fails
// with FlowError.
func (e *Engine) Verify(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	return e.read(ctx, protection.Verify, p, cp, rec)
}

// read starts a flow over the resources of a checkpoint. It fails with
// FlowError, and then the record says that it failed.
func (e *Engine) read(ctx context.Context, kind protection.Kind, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if packed, ok := cp.ResourceGraph(); ok && kind == protection.Restore {
		if err := e.checkGraph(packed); err != nil {
			e.refuseRecord(ctx, kind, rec, err)
			return err
		}
	}
	answer := answerOf(nil)
	if rec.New != nil {
		answer = answerOf(rec.ID)
	}
	r, fresh, err := e.begin(ctx, journal.Entry{
		Kind: string(kind), Subject: cp.ID(), CheckpointID: cp.ID(), RecordID: rec.ID,
		ProviderID: p.ID, PlanID: cp.Plan().ID, ProjectID: rec.ProjectID,
	}, &input{Checkpoint: cp.ID(), Record: &rec, Answer: answer, held: graphSize(cp)}, p)
	switch {
	case r == nil && err != nil:
		e.refuseRecord(ctx, kind, rec, err)
		return err
	case err != nil:
		const text = "Failed to create flow"
		r.refuse(ctx, err, text)
		return fault.FlowError(string(kind), text).WithCause(err)
	case !fresh:
		_, _, err := e.Answered(ctx)
		return err
	}
	r.start()
	return nil
}

// Pair names a checkpoint and its copy.
type Pair struct {
	Source string `json:"checkpoint_protect_id"`
	Copy   string `json:"checkpoint_copy_id"`
}

// Copy creates a copy of each source checkpoint and starts to fill them. Nothing
// is created unless every plugin concerned can copy. It fails with FlowError.
func (e *Engine) Copy(ctx context.Context, p *providers.Provider, plan Plan, sources []*checkpoint.Checkpoint) ([]Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return nil, err
	}
	if err := e.checkSize(len(plan.Resources), 0); err != nil {
		return nil, err
	}
	pairs, begun, err := e.begunCopies(ctx)
	if err != nil {
		return nil, err
	}
	if !begun {
		for _, source := range sources {
			pairs = append(pairs, Pair{Source: source.ID(), Copy: newID()})
		}
	}
	if len(pairs) == 0 {
		return []Pair{}, nil
	}
	graph, packed, err := e.resourceGraph(ctx, plan.Resources)
	if err == nil {
		err = e.checkGraph(packed)
	}
	switch {
	case errors.Is(err, resource.ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, copyError(ctx, err)
	}
	if err := canCopy(p, graph); err != nil {
		return nil, copyError(ctx, err)
	}
	var runs []*run
	var stopping error
	for i, pair := range pairs {
		r, fresh, err := e.begin(withCopyRequest(ctx, i, len(pairs)), journal.Entry{
			Kind: string(protection.Copy), Subject: pair.Source, CheckpointID: pair.Copy,
			ProviderID: p.ID, PlanID: plan.ID, ProjectID: plan.ProjectID,
		}, &input{Checkpoint: pair.Copy, Source: pair.Source, Plan: &plan, Graph: packed, Answer: answerOf(pairs), Digests: true}, p)
		switch {
		case errors.Is(err, ErrStopping): // on record all the same, and so shall be the others
			stopping = err
		case err == nil && !fresh && !begun && len(pairs) == 1:
			return repeated[[]Pair](ctx, e)
		case err == nil && !fresh && !begun && i == 0: // another delivery got ahead, with pairs of its own
			return e.Copy(ctx, p, plan, sources)
		case r != nil:
			runs = append(runs, r)
		}
		if err != nil && stopping == nil {
			for _, made := range runs {
				made.refuse(ctx, err, flowText(ctx, err))
			}
			return nil, copyError(ctx, err)
		}
	}
	for _, r := range runs {
		r.start()
	}
	return pairs, stopping
}

// withCopyRequest is the request of one copy of several. The message is answered,
// and nobody need keep it, when the last copy is on record; so that copy has the
// message's key, and the others have keys of their own.
func withCopyRequest(ctx context.Context, i, of int) context.Context {
	request := requestOf(ctx)
	if i == of-1 {
		return ctx
	}
	return WithRequest(ctx, Request{Key: copyKey(request.Key, i)})
}

func copyKey(key string, i int) string {
	if key == "" {
		return ""
	}
	return fmt.Sprintf("%s#%d", key, i)
}

// begunCopies finds what an earlier delivery of the message was going to copy,
// whose worker died before all copies were on record.
func (e *Engine) begunCopies(ctx context.Context) (pairs []Pair, begun bool, err error) {
	key := copyKey(requestOf(ctx).Key, 0)
	if key == "" {
		return nil, false, nil
	}
	answer, begun, err := e.Answered(WithRequest(ctx, Request{Key: key}))
	if err != nil || !begun {
		return nil, false, err
	}
	pairs, err = decodeAnswer[[]Pair](answer)
	return pairs, true, err
}

func copyError(ctx context.Context, err error) error {
	return fault.FlowError("copy", flowText(ctx, err)).WithCause(err)
}

// canCopy asks every plugin before anything is written.
func canCopy(p Provider, graph *resource.Graph) error {
	f := flow{kind: protection.Copy, provider: p}
	for _, node := range graph.Nodes() {
		if _, err := f.operation(f.kind, node.Resource); err != nil {
			if withoutOperation(err) {
				return fault.KarborException(fmt.Sprintf("The plugin for %s can not copy.", node.Type)).WithCause(err)
			}
			return err
		}
	}
	return nil
}

// Delete starts to remove a checkpoint's backups. The caller has checked that
// it may be deleted. If the flow cannot be made, the status is what it was, or of
// an operation whose owner is gone the one in which it has ended, and the error
// is a KarborException.
func (e *Engine) Delete(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	plan := cp.Plan()
	r, fresh, err := e.begin(ctx, journal.Entry{
		Kind: string(protection.Delete), Subject: cp.ID(), Exclusive: true, CheckpointID: cp.ID(),
		ProviderID: p.ID, PlanID: plan.ID, ProjectID: cp.ProjectID(),
	}, &input{Checkpoint: cp.ID(), Before: cp.Status().Ended(), Answer: answerOf(nil), held: graphSize(cp)}, p)
	switch {
	case r == nil && err != nil:
		return err
	case err != nil:
		const text = "Failed to create delete checkpoint flow."
		r.refuse(ctx, err, text)
		if Overtaken(err) {
			return fault.CheckpointNotBeDeleted(cp.ID()).WithCause(err)
		}
		return fault.KarborException(text).WithCause(err)
	case !fresh:
		_, _, err := e.Answered(ctx)
		return err
	}
	r.start()
	return nil
}
