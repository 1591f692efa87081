// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Parameters are the user's parameters for one resource: the parameters of its type,
// overridden by the parameters of "type#id". karbor-api passes most values as strings.
type Parameters map[string]json.RawMessage

// String returns a parameter's text. A number or a boolean gives its JSON text;
// null and objects count as absent.
func (p Parameters) String(name string) (string, bool) {
	raw, ok := p[name]
	if !ok {
		return "", false
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case float64, bool:
		return string(raw), true
	}
	return "", false
}

// Value returns a parameter's text for a body in JSON, nil if String has none.
func (p Parameters) Value(name string) any {
	if text, ok := p.String(name); ok {
		return text
	}
	return nil
}

// Bool returns a parameter as a boolean: JSON booleans, and the texts that
// Python and its users write for them ("True", "false", "1", "yes" ...).
func (p Parameters) Bool(name string) (value, ok bool) {
	text, ok := p.String(name)
	if !ok {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on", "t", "y":
		return true, true
	case "false", "0", "no", "off", "f", "n", "":
		return false, true
	}
	return false, false
}

// Overlay returns the parameters of p, overridden by the parameters of over.
func (p Parameters) Overlay(over Parameters) Parameters {
	merged := Parameters{}
	maps.Copy(merged, p)
	maps.Copy(merged, over)
	return merged
}

// Names returns the parameters' names in order.
func (p Parameters) Names() []string { return slices.Sorted(maps.Keys(p)) }

// NewResources maps ids of protected resources to ids of the restored ones. It
// is safe for concurrent use; the zero value is empty and ready.
type NewResources struct {
	mu      sync.RWMutex
	ids     map[string]string
	changed map[string]string // since the last call of Changes
	made    map[string]bool   // the restored ones
}

// Set notes that the original resource was restored as another.
func (n *NewResources) Set(original, restored string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ids == nil {
		n.ids, n.changed, n.made = map[string]string{}, map[string]string{}, map[string]bool{}
	}
	n.ids[original], n.changed[original], n.made[restored] = restored, restored, true
}

// Made reports whether an id belongs to a restored resource.
func (n *NewResources) Made(id string) bool {
	if n == nil {
		return false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.made[id]
}

// Changes returns the ids that were set since its last call. Calling All after each
// resource instead would cost the square of their number.
func (n *NewResources) Changes() map[string]string {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.changed) == 0 {
		return nil
	}
	changed := n.changed
	n.changed = map[string]string{}
	return changed
}

// Get returns the id under which a resource was restored.
func (n *NewResources) Get(original string) (string, bool) {
	if n == nil {
		return "", false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	restored, ok := n.ids[original]
	return restored, ok
}

// All returns a copy of the map.
func (n *NewResources) All() map[string]string {
	if n == nil {
		return nil
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return maps.Clone(n.ids)
}
