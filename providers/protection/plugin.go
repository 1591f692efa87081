// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/karbor-project/karbor/pkg/resource"
)

// Kind is what a flow does to its resources.
type Kind string

// The kinds of flows. karbor: common/constants.py
const (
	Protect Kind = "protect"
	Restore Kind = "restore"
	Verify  Kind = "verify"
	Delete  Kind = "delete"
	Copy    Kind = "copy"
)

// ErrNoOperation is what Plugin.Operation returns for a kind that the plugin
// does not have. A flow with such a resource cannot be built.
var ErrNoOperation = errors.New("protection plugin has no such operation")

// Plugin protects resources of some types. It is made once per provider and
// serves all requests at the same time, so it keeps nothing of any of them.
type Plugin interface {
	// Types returns the resource types that the plugin protects.
	Types() []string
	// Schemas returns the parameters that users may give for a type. The texts
	// reach karbor-api and its users as they are.
	Schemas(resourceType string) Schemas
	// Operation returns the hooks of a kind for one resource, or an error that
	// wraps ErrNoOperation. An error of pkg/fault, such as for a wrong option of
	// the provider file, becomes the text of the flow's error.
	Operation(kind Kind, r resource.Resource) (*Operation, error)
}

// Schemas holds JSON schema texts; nil means that the plugin has none, which
// differs from an empty object.
type Schemas struct {
	Options   json.RawMessage
	Restore   json.RawMessage
	SavedInfo json.RawMessage
	Verify    json.RawMessage

	// Added are further parameters of a restore, by name, that the original does not have. Users of API 1.0 can give them, and see them in 1.1.
	Added map[string]Property
}

// Property describes one parameter in a JSON schema.
type Property struct {
	Type        string   `json:"type"` // "string"
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Enum        []string `json:"enum,omitempty"`
}

// Restoring returns the schema of all parameters of a restore.
func (s Schemas) Restoring() json.RawMessage { return With(s.Restore, s.Added) }

// With returns a schema with more properties. One that is no JSON object stays as it is.
func With(schema json.RawMessage, more map[string]Property) json.RawMessage {
	var whole map[string]json.RawMessage
	if len(more) == 0 || json.Unmarshal(schema, &whole) != nil {
		return schema
	}
	properties := map[string]any{}
	if json.Unmarshal(whole["properties"], &properties) != nil && whole["properties"] != nil {
		return schema
	}
	for name, property := range more {
		properties[name] = property
	}
	whole["properties"], _ = json.Marshal(properties) // JSON values and texts encode
	text, _ := json.Marshal(whole)
	return text
}

// Hook is one step of an operation.
//
// A hook is run again if a crash, the stop of a worker or the loss of a lease came before
// its end was on record, perhaps by another process on another machine. So before a hook
// makes anything it looks for what an earlier run has made: by the id that it had saved in the State before it asked for
// the creation, where the service lets the caller choose ids, or else by a name
// or a property that carries the ids of checkpoint and resource. A hook that had
// ended with success is not run again, unless the process died before that was
// on record.
//
// How the hook ends when ctx does depends on the cause:
//
//   - ErrHandover (HandedOver): it returns soon, removes nothing and writes no
//     status, so that the next run finds everything in its place. A hook that gets an
//     error which wraps ErrHandover does the same, and returns it (Handover).
//   - ErrCancelled, ErrDeadline and any other cause: it removes what it made, in
//     the time that Cleanup gives, writes the status "error" and fails with an
//     error that wraps the cause.
//
// A process that is killed does neither. The next run of the hook, or Undo, does the rest.
// Package plugintest tests all of this.
type Hook func(ctx context.Context, c *Call) error

// Operation holds the hooks of one resource; nil means nothing to do.
type Operation struct {
	PrepareBegin  Hook
	PrepareFinish Hook
	Main          Hook
	Complete      Hook

	// Uses names types of resources that the Complete hook works with, though they
	// are no children: when there are some in the same flow their Complete hooks
	// have ended before, and their Undo comes after. A server is restored on the
	// networks that are restored beside it. A resource never waits for its own type.
	Uses []string

	// Undo removes everything that the other hooks made for the resource, whether they
	// had finished, failed, or never started, and also after a crash: it knows only the
	// State and what it finds. It is run when the operation is cancelled, parents before
	// their children, since users of a resource go first, and never while another hook of
	// the resource runs. Like a hook it may be run again, and hands over; a thing that is
	// gone already counts as removed.
	//
	// For Protect nil means that the hooks of Delete do it. A Restore deletes the
	// new resource. What a Delete or a Verify did is not undone.
	Undo Hook

	// Plan, of a Restore, returns what the other hooks would make, in the words of the
	// service: {"flavor": "2", "network": "..."}. It decides by the same code as they do and
	// remarks every difference to the original resource, but changes nothing: neither at
	// services nor in the bank, the State or the record. NewResources then has the resources
	// that would be restored before this one, under their old ids; the Plan of a network
	// adds the parts of the network itself. An error is the reason why the restore of the
	// resource would fail. A nil Plan has nothing to tell.
	Plan func(ctx context.Context, c *Call) (map[string]string, error)
}
