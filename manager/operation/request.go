// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/flow"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/wait"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
)

// Message describes the message that requests an operation.
type Message struct {
	// Key identifies the message: redeliveries have the same key, other messages a different one.
	// If it is empty, a repetition is a new request.
	Key string
	// Accepted is called once the operation is durable, so that the message can be acknowledged. It
	// may be nil.
	Accepted func()
	// Reasons is set if the caller reads the reason of a refusal after the text of API 1.0, which
	// only says that the request was refused.
	Reasons bool
}

// refusalText returns the text of a refusal for the caller.
func (m Message) refusalText(text string, cause error) string {
	if why := failure.Describe(cause); m.Reasons && !strings.Contains(text, why) {
		return text + ": " + why
	}
	return text
}

func (m Message) accepted() {
	if m.Accepted != nil {
		m.Accepted()
	}
}

// Answered finds the previous answer to a message, perhaps by another worker: the JSON of the
// result, or the error. ok is false for a new message.
func (e *Engine) Answered(ctx context.Context, m Message) (answer json.RawMessage, ok bool, err error) {
	if m.Key == "" {
		return nil, false, nil
	}
	entry, err := e.journal.Find(ctx, m.Key)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, unrecorded(err)
	}
	m.accepted()
	answer, err = e.answer(ctx, entry)
	return answer, true, err
}

// answer returns the answer for the caller of an entry's request.
func (e *Engine) answer(ctx context.Context, entry *journal.Entry) (json.RawMessage, error) {
	marks, err := e.journal.Marks(ctx, entry.ID, outcomeMark)
	if err != nil {
		return nil, unrecorded(err)
	}
	if len(marks) > 0 {
		var o outcome
		if err := json.Unmarshal(marks[0].Value, &o); err != nil {
			return nil, unrecorded(err)
		}
		if o.Refused != "" {
			return nil, fault.FlowError(entry.Kind, o.Refused)
		}
	}
	in, err := decodeInput(entry.Input)
	if err != nil {
		return nil, err
	}
	return in.Answer, nil
}

func decodeAnswer[T any](answer json.RawMessage) (result T, err error) {
	if json.Unmarshal(answer, &result) != nil {
		err = fault.KarborException("The request was answered before in another way")
	}
	return result, err
}

// spec describes a requested operation.
type spec struct {
	kind      protection.Kind
	subject   string // the checkpoint to work on
	exclusive bool   // no other operation may work on subject
	project   string
	plan      string // id
	provider  *providers.Provider
	input     *input
	graph     *resource.Graph // if the caller has just built it
	// refusal returns the answer for an operation that cannot be opened: the text, which repeated
	// messages get too, and the error. Nil means a flow error.
	refusal func(r *run, cause error) (string, error)
}

// submit records an operation, opens it and starts it. A message that was recorded before gets its
// first answer.
func submit[T any](ctx context.Context, e *Engine, m Message, answer T, s *spec) (T, error) {
	var none T
	s.input.Answer = answerOf(answer)
	r, err := e.begin(ctx, m, s)
	switch {
	case r == nil && err != nil:
		return none, err
	case err != nil:
		text, refusal := s.refusal(r, err)
		r.refuse(ctx, err, text)
		return none, refusal
	case r == nil:
		first, _, err := e.Answered(ctx, m)
		if err != nil {
			return none, err
		}
		return decodeAnswer[T](first)
	}
	r.start()
	return answer, nil
}

// answerOf returns the JSON of a result.
func answerOf(v any) json.RawMessage {
	text, _ := json.Marshal(v) // ids and pairs of ids always encode
	return text
}

// begin records an operation and opens it. The run is nil if the message was recorded before. If
// the operation cannot be opened, begin returns the error of open.
func (e *Engine) begin(ctx context.Context, m Message, s *spec) (*run, error) {
	in, caller := s.input, requestcontext.From(ctx)
	entry := journal.Entry{
		ID: newID(), Key: m.Key, Kind: string(s.kind), Subject: s.subject, Exclusive: s.exclusive, CheckpointID: in.Checkpoint,
		ProviderID: s.provider.ID, PlanID: s.plan, ProjectID: s.project, Claim: journal.Claim{Owner: e.Tenure.ID()},
	}
	if in.Record != nil {
		entry.RecordID = in.Record.ID
	}
	defer e.expect(entry.ID)()
	in.Version = inputVersion
	err := in.putCaller(caller, e.Sealer, entry.ID, e.Now())
	if err != nil {
		return nil, err
	}
	if entry.Input, err = json.Marshal(in); err != nil {
		return nil, fmt.Errorf("encoding the input of the operation: %w", err)
	}
	sign(&entry, e.Sealer)
	if err := recordable(&entry, in); err != nil {
		return nil, err
	}
	size := len(entry.Input) + in.held
	if err := e.admit(entry.ProjectID, size); err != nil {
		return nil, err
	}
	entry.CreatedAt = e.Now().UTC()
	kept, fresh, err := e.enter(ctx, entry)
	var busy *journal.BusyError
	switch {
	case errors.As(err, &busy):
		return nil, inUse(s.subject, busy.Other)
	case err != nil:
		return nil, e.deny(entry.ID, err)
	}
	m.accepted()
	if !fresh {
		return nil, nil
	}
	kept.Input = nil // in has the same content
	r := e.newRun(kept, in, caller, s.provider)
	r.job.Size, r.flow.Graph = size, s.graph
	if _, ok := e.enlist(r); !ok { // the service is stopping; the next owner has nobody to answer to
		return nil, fault.KarborException("The service is stopping; the operation goes on when it is back").WithCause(ErrStopping)
	}
	if err = e.Reachable(ctx, s.provider); err == nil {
		err = r.open(r.writing(ctx))
	} else {
		r.untouched = true
	}
	if err == nil {
		err = r.work.build(r.writing(ctx))
	}
	if err != nil && (r.ctx.Err() != nil || errors.Is(err, protection.ErrHandover) || errors.Is(context.Cause(ctx), rpc.ErrStopped)) {
		// The operation is sound, but this worker has to leave it. It is recorded, and its next
		// owner opens it.
		r.log.Infof("%s is opened later: %s", entry.Kind, fault.Detail(err))
		r.resumed, r.opened = true, false
		return r, nil
	}
	return r, err
}

// unrecorded returns the answer to a request that could not be made durable, and that the caller
// may repeat.
func unrecorded(err error) *fault.Error {
	why := "the database does not answer"
	if r := database.Refused(err); r != nil {
		why = r.Advice()
	}
	return fault.KarborException("The operation cannot be recorded: " + why).WithCause(err)
}

// enter adds an entry to the journal. A deletion waits for copies into its checkpoint, since the
// subject of a copy is the source.
func (e *Engine) enter(ctx context.Context, entry journal.Entry) (kept journal.Entry, fresh bool, err error) {
	err = e.retryBusy(ctx, func() (err error) {
		if entry.Kind == string(protection.Delete) {
			if err := e.busy(ctx, journal.Filter{CheckpointID: entry.CheckpointID, Kind: string(protection.Copy)}); err != nil {
				return err
			}
		}
		kept, fresh, err = e.journal.Begin(ctx, entry)
		return err
	})
	return kept, fresh, err
}

// busyPollInterval is the pause between two checks whether an operation has ended.
const busyPollInterval = 50 * time.Millisecond

// retryBusy repeats a call that fails because of another operation. Users see the end of an
// operation a moment before its entry is closed, and may request the next one at once.
func (e *Engine) retryBusy(ctx context.Context, call func() error) error {
	deadline := time.Now().Add(e.Patience)
	for {
		err := call()
		if !errors.As(err, new(*journal.BusyError)) || !time.Now().Before(deadline) || wait.Sleep(ctx, busyPollInterval) != nil {
			return err
		}
	}
}

// busy returns a *journal.BusyError if an operation that f selects has not ended.
func (e *Engine) busy(ctx context.Context, f journal.Filter) error {
	f.Unfinished, f.Limit = true, 1
	entries, err := e.journal.List(ctx, f)
	if err == nil && len(entries) > 0 {
		err = &journal.BusyError{Other: entries[0]}
	}
	return err
}

// Free fails with a *journal.BusyError if an operation changes or reads the checkpoint, and does
// not end soon.
func (e *Engine) Free(ctx context.Context, checkpointID string) error {
	err := e.retryBusy(ctx, func() error {
		err := e.busy(ctx, journal.Filter{CheckpointID: checkpointID})
		if err == nil {
			err = e.busy(ctx, journal.Filter{Subject: checkpointID})
		}
		return err
	})
	if err != nil && !errors.As(err, new(*journal.BusyError)) {
		return unrecorded(err)
	}
	return err
}

// recordable checks the parts that users can make too large for the journal and the tables. It does
// not check content of existing checkpoints, which is no reason to refuse an operation on them.
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

// inUse returns the answer to a request for a checkpoint that another operation works on.
func inUse(checkpointID string, other journal.Entry) error {
	return fault.InvalidInput(fmt.Sprintf("Checkpoint %s is in use: a %s (operation %s) is at work on it.",
		checkpointID, other.Kind, other.ID)).WithCause(&journal.BusyError{Other: other})
}

// prepareTime bounds the part of an operation that its caller waits for. karbor-api gives up after
// 60 seconds and then does not know about the operation.
const prepareTime = 50 * time.Second

// internalError is the text for errors whose own text is not for users.
// karbor: manager.py
const internalError = "Internal error"

// Protect starts to protect a plan's resources, and all that depend on them, in a new checkpoint.
// It returns the id of the checkpoint, or FlowError.
func (e *Engine) Protect(ctx context.Context, m Message, p *providers.Provider, plan Plan, extraInfo json.RawMessage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return "", err
	}
	optional := plan.optional(p)
	plan.Parameters = plan.Parameters.without(providers.OnUnfit)
	drawn, graphErr := e.graphOf(ctx, plan.Resources, optional)
	if errors.Is(graphErr, resource.ErrTooLarge) {
		return "", graphErr
	}
	if graphErr == nil {
		if err := plan.Parameters.check(drawn.graph, drawn.remarks); err != nil {
			return "", err
		}
	}
	id := newID()
	in := &input{Checkpoint: id, Plan: &plan, ExtraInfo: extraInfo, Graph: drawn.packed, Remarks: drawn.remarks, Digests: true}
	recording := ctx
	if graphErr != nil { // perhaps because ctx has ended; the failure is recorded in the checkpoint anyway
		in.Refusal = failure.Describe(graphErr)
		var done context.CancelFunc
		recording, done = cleanup(ctx)
		defer done()
	}
	return submit(recording, e, m, id, &spec{
		kind: protection.Protect, subject: id, exclusive: true, project: plan.ProjectID, plan: plan.ID, provider: p, input: in, graph: drawn.graph,
		refusal: func(r *run, cause error) (string, error) {
			text := "Error creating checkpoint"
			if r.work.(*protecting).cp != nil {
				text = flowText(ctx, cmp.Or(graphErr, cause))
			}
			text = m.refusalText(text, cmp.Or(graphErr, cause))
			return text, fault.FlowError("protect", text).WithCause(cmp.Or(graphErr, cause))
		},
	})
}

// flowText returns what the caller may read about a failure to build a flow: the message of an
// error from the catalogue, or else only that there was an error.
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

// found is the graph of a plan's resources and their dependents.
type found struct {
	graph   *resource.Graph
	packed  string
	remarks []remark.Remark // on resources that are left out
}

// graphOf builds the graph of the plan's resources and their dependents, within the limits of an
// operation. Optional resources that cannot be protected as they are, are left out.
func (e *Engine) graphOf(ctx context.Context, starts []resource.Resource, optional func(resource.Resource) bool) (f found, err error) {
	if err := e.checkSize(len(starts), 0); err != nil {
		return found{}, err
	}
	if f.graph, f.remarks, err = e.Protectables.Graph(ctx, starts, optional); err != nil {
		return found{}, fmt.Errorf("finding the resources that depend on the plan's: %w", err)
	}
	links := 0
	for _, node := range f.graph.Nodes() {
		links += len(node.Children)
	}
	if err := e.checkSize(f.graph.Len(), links); err != nil {
		return found{}, err
	}
	if f.packed, err = resource.Pack(f.graph); err != nil {
		return found{}, fmt.Errorf("packing the resource graph: %w", err)
	}
	return f, nil
}

// graphIn reads the graph of a checkpoint, within the limits of an operation.
func (e *Engine) graphIn(ctx context.Context, p *providers.Provider, id string) (*resource.Graph, string, error) {
	cp, err := p.Checkpoints.Get(ctx, id)
	if err != nil {
		return nil, "", err
	}
	packed, ok := cp.ResourceGraph()
	if !ok {
		return nil, "", errNoGraph
	}
	if err := e.checkGraph(packed); err != nil {
		return nil, "", err
	}
	graph, err := unpack(packed)
	return graph, packed, err
}

// isEmpty reports whether a checkpoint holds no resources.
func isEmpty(cp *checkpoint.Checkpoint) bool {
	packed, ok := cp.ResourceGraph()
	resources, _, err := resource.Measure(packed)
	return ok && err == nil && resources == 0
}

// Restore starts to create new resources from a checkpoint. The caller has checked that the
// checkpoint is available and may be read. It fails with FlowError.
func (e *Engine) Restore(ctx context.Context, m Message, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	if packed, ok := cp.ResourceGraph(); ok {
		if err := e.checkGraph(packed); err != nil {
			e.refuseRecord(ctx, protection.Restore, rec, err)
			return err
		}
	}
	return e.read(ctx, m, protection.Restore, p, cp, rec)
}

// Foretold is the expected result of a restore.
type Foretold struct {
	Resources []flow.Planned `json:"resources"`
	// Remarks are the remarks that the restore would make, as far as they are known without trying
	// it. MoreRemarks counts those for which there is no room.
	Remarks     []remark.Remark `json:"remarks"`
	MoreRemarks int             `json:"more_remarks,omitempty"`
}

// Foretell returns what a restore would make of a checkpoint, and what would not be restored
// exactly. It changes nothing. The caller has checked that the checkpoint is available and may be
// read. It fails as Restore does.
func (e *Engine) Foretell(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint, parameters Parameters) (*Foretold, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	packed, ok := cp.ResourceGraph()
	if !ok || isEmpty(cp) {
		return nil, fault.InvalidInput("Checkpoint " + cp.ID() + " holds no resources.")
	}
	err := e.checkGraph(packed)
	if err == nil {
		err = e.Reachable(ctx, p)
	}
	if err == nil {
		err = cp.CheckSeal()
	}
	if err != nil {
		return nil, err
	}
	graph, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	if err := parameters.check(graph, nil); err != nil {
		return nil, err
	}
	remarks := &told{}
	f := &flow.Flow{Provider: p, Graph: graph, Checkpoint: cp, Parameters: parameters.of, Log: e.log}
	planned, err := f.Plan(ctx, remarks)
	if err != nil {
		return nil, fault.FlowError("restore", flowText(ctx, err)).WithCause(err)
	}
	d := remarks.Document()
	return &Foretold{Resources: planned, Remarks: d.Remarks, MoreRemarks: d.More}, nil
}

// told collects the remarks of a foretold restore.
type told struct{ remark.List }

// Add implements protection.Remarks.
func (t *told) Add(r remark.Remark) { t.List.Add(r) }

// Verify starts to check that the backups of a checkpoint exist and are intact. The caller has
// checked that the checkpoint is available and may be read. It fails with FlowError.
func (e *Engine) Verify(ctx context.Context, m Message, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	return e.read(ctx, m, protection.Verify, p, cp, rec)
}

// read starts a flow over the resources of a checkpoint. If that fails, the record gets the error.
func (e *Engine) read(ctx context.Context, m Message, kind protection.Kind, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if isEmpty(cp) { // it would succeed and look like a backup
		err := fault.InvalidInput("Checkpoint " + cp.ID() + " holds no resources.")
		e.refuseRecord(ctx, kind, rec, err)
		return err
	}
	if packed, ok := cp.ResourceGraph(); ok && len(rec.Parameters) > 0 {
		graph, err := unpack(packed)
		if err == nil {
			err = rec.Parameters.check(graph, nil)
		}
		if err != nil {
			e.refuseRecord(ctx, kind, rec, err)
			return err
		}
	}
	var answer *string
	if rec.New != nil {
		answer = &rec.ID
	}
	_, err := submit(ctx, e, m, answer, &spec{
		kind: kind, subject: cp.ID(), project: rec.ProjectID, plan: cp.Plan().ID, provider: p,
		input: &input{Checkpoint: cp.ID(), Record: &rec, held: graphSize(cp)},
		refusal: func(_ *run, cause error) (string, error) {
			text := m.refusalText("Failed to create flow", cause)
			return text, fault.FlowError(string(kind), text).WithCause(cause)
		},
	})
	e.refuseRecord(ctx, kind, rec, err)
	return err
}

// Pair names a checkpoint and its copy.
type Pair struct {
	Source string `json:"checkpoint_protect_id"`
	Copy   string `json:"checkpoint_copy_id"`
}

// Copy creates a copy of each source checkpoint and starts to fill it. The copies hold the plan's
// resources. If the plan has no resources, or some may be left out, each copy holds the resources
// of its source, and a source without resources is skipped. Copy creates nothing unless every
// plugin involved can copy. It fails with FlowError.
func (e *Engine) Copy(ctx context.Context, m Message, p *providers.Provider, plan Plan, sources []*checkpoint.Checkpoint) ([]Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return nil, err
	}
	if err := e.checkSize(len(plan.Resources), 0); err != nil {
		return nil, err
	}
	asTheirSources := len(plan.Resources) == 0 || plan.leavesOut(p)
	plan.Parameters = plan.Parameters.without(providers.OnUnfit)
	pairs, begun, err := e.begunCopies(ctx, m)
	if err != nil {
		return nil, err
	}
	if !begun {
		pairs = []Pair{}
		for _, source := range sources {
			if !asTheirSources || !isEmpty(source) {
				pairs = append(pairs, Pair{Source: source.ID(), Copy: newID()})
			}
		}
	}
	if len(pairs) == 0 {
		return pairs, nil
	}
	refused := func(err error) error { return fault.FlowError("copy", flowText(ctx, err)).WithCause(err) }
	specs := make([]*spec, len(pairs))
	var graph *resource.Graph
	var packed string
	for i, pair := range pairs {
		switch {
		case asTheirSources:
			graph, packed, err = e.graphIn(ctx, p, pair.Source)
		case i == 0:
			var drawn found
			drawn, err = e.graphOf(ctx, plan.Resources, nil)
			graph, packed = drawn.graph, drawn.packed
		}
		if errors.Is(err, resource.ErrTooLarge) {
			return nil, err
		}
		if err == nil {
			err = canCopy(p, graph)
		}
		if err != nil {
			return nil, refused(err)
		}
		specs[i] = &spec{
			kind: protection.Copy, subject: pair.Source, project: plan.ProjectID, plan: plan.ID, provider: p, graph: graph,
			input:   &input{Checkpoint: pair.Copy, Source: pair.Source, Plan: &plan, Graph: packed, Digests: true},
			refusal: func(_ *run, cause error) (string, error) { return flowText(ctx, cause), refused(cause) },
		}
	}
	if len(pairs) == 1 && !begun {
		return submit(ctx, e, m, pairs, specs[0])
	}
	var runs []*run
	var stopping error
	for i, s := range specs {
		s.input.Answer = answerOf(pairs)
		r, err := e.begin(ctx, m.ofCopy(i, len(pairs)), s)
		switch {
		case errors.Is(err, ErrStopping): // this copy is recorded all the same, and the others must be too
			stopping = err
			continue
		case err == nil && r == nil && !begun && i == 0: // another delivery was faster, and has pairs of its own
			return e.Copy(ctx, m, p, plan, sources)
		case r != nil:
			runs = append(runs, r)
		}
		if err != nil && stopping == nil {
			for _, made := range runs {
				made.refuse(ctx, err, flowText(ctx, err))
			}
			return nil, refused(err)
		}
	}
	for _, r := range runs {
		r.start()
	}
	return pairs, stopping
}

// ofCopy returns the message of one of several copies. The message is answered and acknowledged
// when the last copy is recorded, so that copy has the message's key, and the others have keys of
// their own.
func (m Message) ofCopy(i, of int) Message {
	switch {
	case i == of-1:
		return m
	case m.Key == "":
		return Message{}
	}
	return Message{Key: fmt.Sprintf("%s#%d", m.Key, i)}
}

// begunCopies finds the copies that an earlier delivery of the message had begun, whose worker died
// before all copies were recorded.
func (e *Engine) begunCopies(ctx context.Context, m Message) (pairs []Pair, begun bool, err error) {
	answer, begun, err := e.Answered(ctx, m.ofCopy(0, 2))
	if err != nil || !begun {
		return nil, false, err
	}
	pairs, err = decodeAnswer[[]Pair](answer)
	return pairs, true, err
}

// canCopy asks every plugin before anything is written.
func canCopy(p *providers.Provider, graph *resource.Graph) error {
	for _, node := range graph.Nodes() {
		_, err := flow.Operation(p, protection.Copy, node.Resource)
		if errors.Is(err, protection.ErrNoOperation) {
			return fault.KarborException(fmt.Sprintf("The plugin for %s can not copy.", node.Type)).WithCause(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete starts to remove the backups of a checkpoint. The caller has checked that the checkpoint
// may be deleted. If the flow cannot be built, the status is restored or, for an operation whose
// owner is gone, set to the status in which that operation has ended; the error is a
// KarborException.
func (e *Engine) Delete(ctx context.Context, m Message, p *providers.Provider, cp *checkpoint.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	_, err := submit(ctx, e, m, any(nil), &spec{
		kind: protection.Delete, subject: cp.ID(), exclusive: true, project: cp.ProjectID(), plan: cp.Plan().ID, provider: p,
		input: &input{Checkpoint: cp.ID(), Before: cp.Status().Ended(), held: graphSize(cp)},
		refusal: func(_ *run, cause error) (string, error) {
			text := m.refusalText("Failed to create delete checkpoint flow.", cause)
			if failure.Overtaken(cause) {
				return text, fault.CheckpointNotBeDeleted(cp.ID()).WithCause(cause)
			}
			return text, fault.KarborException(text).WithCause(cause)
		},
	})
	return err
}
