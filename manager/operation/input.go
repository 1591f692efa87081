// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
)

// inputVersion is the version of the format of input. A worker reads formats of older workers.
const inputVersion = 1

// input is the input of an operation in its journal entry. It has everything that a worker needs to
// resume the operation, even if the worker that began it is gone.
type input struct {
	Version int `json:"version"`
	// held is the size of a graph that is stored elsewhere.
	held int
	// Caller is the request context as JSON. It is sealed if there is a key, since it holds the
	// caller's token.
	Caller string `json:"caller"`
	Sealed bool   `json:"sealed,omitempty"`
	// Answer is the result of the call.
	Answer json.RawMessage `json:"answer,omitempty"`

	// Checkpoint is the id of the operation's checkpoint; for a copy, of the new one.
	Checkpoint string `json:"checkpoint"`

	// Only for a protection and a copy.
	Plan      *Plan           `json:"plan,omitempty"`
	ExtraInfo json.RawMessage `json:"extra_info,omitempty"`
	Graph     string          `json:"graph,omitempty"`
	// Remarks describe the resources that were left out of the graph.
	Remarks []remark.Remark `json:"remarks,omitempty"`
	// Refusal is the reason why there is no graph.
	Refusal string `json:"refusal,omitempty"`
	// Digests is set if the digests of all objects are recorded from the first hook on.
	Digests bool `json:"digests,omitempty"`

	Source string            `json:"source,omitempty"` // of a copy
	Before checkpoint.Status `json:"before,omitempty"` // the status before a deletion
	Record *Record           `json:"record,omitempty"` // of a restore or verification
}

func decodeInput(text json.RawMessage) (*input, error) {
	in := &input{}
	if err := json.Unmarshal(text, in); err != nil {
		return nil, fmt.Errorf("reading the input of the operation: %w", err)
	}
	if in.Version > inputVersion {
		return nil, fmt.Errorf("the input of the operation has version %d, this worker knows %d", in.Version, inputVersion)
	}
	return in, nil
}

// check verifies that the mandatory members for an operation of this kind are present.
func (in *input) check(kind protection.Kind) error {
	switch {
	case (kind == protection.Protect || kind == protection.Copy) && in.Plan == nil:
		return fmt.Errorf("%w: it has no plan", errForged)
	case (kind == protection.Restore || kind == protection.Verify) && in.Record == nil:
		return fmt.Errorf("%w: it has no record", errForged)
	}
	return nil
}

// Sealer protects secrets in journal entries from readers of the database, and entries from its
// writers. about is the id of the entry; without it a text cannot be opened.
type Sealer interface {
	Seal(plain []byte, about string) (string, error)
	Open(sealed, about string) ([]byte, error)
	// Sign returns a signature of the data that write writes. It has no quotes and no spaces.
	Sign(write func(io.Writer)) string
	Verify(signature string, write func(io.Writer)) error
}

// errForged reports an entry that no worker with a key has written in this form. The entry is not
// executed.
var errForged = errors.New("the entry of the operation in the journal is not as a worker has written it")

// signed is the format of a signature that is appended to the JSON of an input. Workers that do not
// know signatures ignore the member.
const signed = `,"signature":"`

// sign adds a signature to the entry's input. It covers everything that determines the operation.
func sign(entry *journal.Entry, sealer Sealer) {
	if sealer == nil {
		return
	}
	open := entry.Input[:len(entry.Input)-1] // without the closing brace
	signature := sealer.Sign(content(entry, open))
	entry.Input = fmt.Appendf(open, "%s%s\"}", signed, signature)
}

// verify checks that sign has signed an entry. An entry without a signature may come from an older
// worker, and is accepted only if unsigned is set.
func verify(entry *journal.Entry, sealer Sealer, unsigned bool) error {
	if sealer == nil {
		return nil
	}
	at := bytes.LastIndex(entry.Input, []byte(signed))
	signature, whole := "", false
	if at >= 0 {
		signature, whole = strings.CutSuffix(string(entry.Input[at+len(signed):]), `"}`)
	}
	switch {
	case whole:
		if err := sealer.Verify(signature, content(entry, entry.Input[:at])); err != nil {
			return fmt.Errorf("%w: %w", errForged, err)
		}
		return nil
	case unsigned:
		return nil
	}
	return fmt.Errorf("%w: it has no signature (journal_accept_unsigned lets operations pass that older workers have begun)", errForged)
}

// content writes the signed content: everything that determines the operation, its caller and its
// subject. The owner and the progress change, and are not included.
func content(entry *journal.Entry, input []byte) func(io.Writer) {
	return func(w io.Writer) {
		exclusive := strconv.FormatBool(entry.Exclusive)
		for _, part := range [][]byte{
			[]byte(entry.ID), []byte(entry.Key), []byte(entry.Kind), []byte(entry.Subject), []byte(exclusive), []byte(entry.ProviderID),
			[]byte(entry.CheckpointID), []byte(entry.PlanID), []byte(entry.ProjectID), []byte(entry.RecordID), input,
		} {
			_ = binary.Write(w, binary.BigEndian, uint64(len(part))) // writes to a hash never fail
			_, _ = w.Write(part)
		}
	}
}

// left returns the part of an input to keep after the end of the operation: the answer for repeated
// messages. The caller's credentials are removed.
func (in *input) left() json.RawMessage {
	return answerOf(input{Version: inputVersion, Checkpoint: in.Checkpoint, Answer: in.Answer})
}

// inputOfEntry returns an input with only the data of an entry.
func inputOfEntry(entry *journal.Entry) *input {
	return &input{Checkpoint: entry.CheckpointID, Record: &Record{ID: entry.RecordID, ProjectID: entry.ProjectID}}
}

// putCaller stores the request context in the input. Without a key its secrets are left out, and a
// resumed operation has none.
func (in *input) putCaller(caller *requestcontext.RequestContext, sealer Sealer, about string, now time.Time) error {
	if sealer == nil {
		without := *caller
		without.AuthToken, without.AuthTokenInfo = "", nil
		caller = &without
	}
	text, err := json.Marshal(caller.Encode(now))
	if err != nil {
		return fmt.Errorf("encoding the request context: %w", err)
	}
	in.Caller = string(text)
	if sealer == nil {
		return nil
	}
	if in.Caller, err = sealer.Seal(text, about); err != nil {
		return fmt.Errorf("sealing the request context: %w", err)
	}
	in.Sealed = true
	return nil
}

// caller restores the request context.
func (in *input) caller(sealer Sealer, about string) (*requestcontext.RequestContext, error) {
	text := []byte(in.Caller)
	if sealer != nil && !in.Sealed {
		return nil, fmt.Errorf("the caller's credentials are not sealed, and this worker has a key")
	}
	if in.Sealed {
		if sealer == nil {
			return nil, fmt.Errorf("the caller's credentials are sealed, and this worker has no key")
		}
		var err error
		if text, err = sealer.Open(in.Caller, about); err != nil {
			return nil, fmt.Errorf("opening the caller's credentials: %w", err)
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("reading the request context: %w", err)
	}
	return requestcontext.Decode(members)
}

// Plan says which resources to protect, and how.
type Plan struct {
	ID         string
	Name       string
	Unnamed    bool // the name is null
	ProviderID string
	ProjectID  string
	Resources  []resource.Resource
	Parameters Parameters
}

// Record is the restore or verification that karbor-api stores in the database before it requests
// the operation.
type Record struct {
	ID         string
	ProjectID  string
	Parameters Parameters
	// New is the record to create, for callers without karbor-api; nil if the record exists.
	New *database.Record
}

// Parameters are the users' parameters by resource type, or by "type#id" for
// one resource, which then overrides those of its type.
type Parameters map[string]protection.Parameters

// of returns the parameters of one resource.
func (p Parameters) of(r resource.Resource) protection.Parameters {
	return p[r.Type].Overlay(p[r.Key().String()])
}

// without returns all parameters except one that is not for plugins.
func (p Parameters) without(name string) Parameters {
	rest := Parameters{}
	for key, of := range p {
		own := maps.Clone(of)
		delete(own, name)
		if len(own) > 0 || len(of) == 0 {
			rest[key] = own
		}
	}
	return rest
}

// check refuses parameters for types and resources that are neither in the graph nor left out of
// it, since they would have no effect.
func (p Parameters) check(graph *resource.Graph, leftOut []remark.Remark) error {
	known := map[string]bool{}
	for _, r := range leftOut {
		known[r.Resource.Type], known[resource.Key(r.Resource).String()] = true, true
	}
	for _, node := range graph.Nodes() {
		known[node.Type], known[node.Key().String()] = true, true
	}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if !known[key] {
			return fault.InvalidInput("parameters of " + key + ": there is no such resource among those of the operation")
		}
	}
	return nil
}

// optional returns a function that reports whether the plan, or else its provider, allows a
// resource to be left out if it cannot be protected as it is.
func (p Plan) optional(by *providers.Provider) func(resource.Resource) bool {
	return func(r resource.Resource) bool {
		for _, key := range []string{r.Key().String(), r.Type} {
			if choice, given := p.Parameters[key].String(providers.OnUnfit); given {
				return choice == providers.LeaveOut
			}
		}
		return by.LeavesOut(r.Type)
	}
}

// leavesOut reports whether resources of any type may be left out.
func (p Plan) leavesOut(by *providers.Provider) bool {
	for _, of := range p.Parameters {
		if choice, _ := of.String(providers.OnUnfit); choice == providers.LeaveOut {
			return true
		}
	}
	return slices.ContainsFunc(protectable.Judged(), by.LeavesOut)
}

func (p Plan) stored() checkpoint.Plan {
	return checkpoint.Plan{ID: p.ID, Name: p.Name, Unnamed: p.Unnamed, ProviderID: p.ProviderID, ProjectID: p.ProjectID, Resources: p.Resources}
}
