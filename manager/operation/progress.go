// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
)

// The keys of marks: what has become of a resource's hooks, what its plugin
// keeps, what hooks have told of a resource of a restore or verification, that all hooks have ended well, and how the operation is to end
// otherwise, which is what counts when both are there.
const (
	progressMarks = "p/"
	stateMarks    = "s/"
	reportMarks   = "r/"
	walkedMark    = "walked"
	verdictMark   = "verdict"
)

// longestKey is what a journal's mark key may have.
const longestKey = 400

// markKey names a resource's mark.
func markKey(prefix string, key resource.Key) string { return markName(prefix, key.String()) }

// markName names a mark. A long name is replaced by its digest.
func markName(prefix, name string) string {
	if len(prefix+name) <= longestKey {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + "sha256:" + hex.EncodeToString(sum[:])
}

// HookState is how a resource fares in an operation.
type HookState string

// The states of a resource.
const (
	HookWaiting  HookState = "waiting"
	HookRunning  HookState = "running"
	HookFinished HookState = "finished" // and the next may start
	HookFailed   HookState = "failed"
)

// Progress is how far an operation has come with one resource.
type Progress struct {
	Type string `json:"resource_type"`
	ID   string `json:"resource_id"`
	// Hook is the one that runs, or ran last; empty before the first.
	Hook  string    `json:"hook"`
	State HookState `json:"state"`
	// Percent is how much of the hook's work is done, where its service tells.
	Percent   int        `json:"percent,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"` // of the hook
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`

	// Hooks are all that the resource has, in their order.
	Hooks []string `json:"hooks,omitempty"`
	// Done are the hooks that have finished and never run again.
	Done []string `json:"done,omitempty"`
	// Restored are the new resources that the hooks of this one have made, by
	// the ids of the original ones.
	Restored map[string]string `json:"restored,omitempty"`
}

func (p *Progress) finished(hook string) bool { return slices.Contains(p.Done, hook) }

// verdict is how an operation that failed or was cancelled is to end. It is
// durable before anything says so, so that nobody runs hooks again afterwards.
type verdict struct {
	Reason    string `json:"reason"`
	Cancelled bool   `json:"cancelled,omitempty"`
	// Refused is what the caller was told in place of a result; the operation
	// never ran.
	Refused string `json:"refused,omitempty"`
}

// decodeProgress reads the marks of an entry.
func decodeProgress(value json.RawMessage) (*Progress, error) {
	p := &Progress{}
	return p, json.Unmarshal(value, p)
}
