// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// inputVersion is that of the form of input. A worker reads what older ones
// wrote.
const inputVersion = 1

// input is what an operation starts from, in its journal entry: everything that
// a worker needs to go on with it, whatever had become of the one that began.
type input struct {
	Version int `json:"version"`
	// held is the size of a graph that stands elsewhere.
	held int
	// Caller is the request context as JSON, sealed where there is a key, for
	// it holds the caller's token.
	Caller string `json:"caller"`
	Sealed bool   `json:"sealed,omitempty"`
	// Answer is the result of the call.
	Answer json.RawMessage `json:"answer,omitempty"`

	// Checkpoint is the one that the operation is about, for a copy the new one.
	Checkpoint string `json:"checkpoint"`

	// Of a protection and a copy.
	Plan      *Plan           `json:"plan,omitempty"`
	ExtraInfo json.RawMessage `json:"extra_info,omitempty"`
	Graph     string          `json:"graph,omitempty"`
	// Refusal is why there is no graph.
	Refusal string `json:"refusal,omitempty"`

	Source string            `json:"source,omitempty"` // of a copy
	Before checkpoint.Status `json:"before,omitempty"` // the status before a deletion
	Record *Record           `json:"record,omitempty"` // of a restore or verification
}

func decodeInput(text json.RawMessage) (*input, error) {
	in := &input{}
	if err := json.Unmarshal(text, in); err != nil {
		return nil, fmt.Errorf("read the input of the operation: %w", err)
	}
	if in.Version > inputVersion {
		return nil, fmt.Errorf("the input of the operation has version %d, this worker knows %d", in.Version, inputVersion)
	}
	return in, nil
}

// Sealer keeps secrets of journal entries from those who can read the database.
// about is the id of the entry, without which a text cannot be opened.
type Sealer interface {
	Seal(plain []byte, about string) (string, error)
	Open(sealed, about string) ([]byte, error)
}

// putCaller stores the request context in the input. Without a key its secrets
// are left out: an operation that is resumed then has none.
func (in *input) putCaller(caller *requestcontext.RequestContext, sealer Sealer, about string, now time.Time) error {
	if sealer == nil {
		without := *caller
		without.AuthToken, without.AuthTokenInfo = "", nil
		caller = &without
	}
	text, err := json.Marshal(caller.Encode(now))
	if err != nil {
		return fmt.Errorf("encode the request context: %w", err)
	}
	in.Caller = string(text)
	if sealer == nil {
		return nil
	}
	if in.Caller, err = sealer.Seal(text, about); err != nil {
		return fmt.Errorf("seal the request context: %w", err)
	}
	in.Sealed = true
	return nil
}

// caller reads the request context back.
func (in *input) caller(sealer Sealer, about string) (*requestcontext.RequestContext, error) {
	text := []byte(in.Caller)
	if in.Sealed {
		if sealer == nil {
			return nil, fmt.Errorf("the caller's credentials are sealed, and this worker has no key")
		}
		var err error
		if text, err = sealer.Open(in.Caller, about); err != nil {
			return nil, fmt.Errorf("open the caller's credentials: %w", err)
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("read the request context: %w", err)
	}
	return requestcontext.Decode(members)
}
