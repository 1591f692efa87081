// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/rpc/versionedobject"
)

// The keys of karbor's versioned objects in JSON, and their common version. karbor: objects/base.py
const (
	objectPrefix    = "karbor_object"
	objectNamespace = "karbor"
	objectVersion   = "1.0"
)

// decodeObject returns the fields of a versioned object of the given class, or the members of a
// plain object. An absent value and null have none.
func decodeObject(value json.RawMessage, class string) (map[string]json.RawMessage, error) {
	if isNull(value) {
		return nil, nil
	}
	if !versionedobject.Is(value, objectPrefix) {
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return nil, fmt.Errorf("want a %s object, got %s", class, kindOf(value))
		}
		return members, nil
	}
	object, err := versionedobject.Decode(value, objectPrefix)
	if err != nil {
		return nil, fmt.Errorf("%s object: %w", class, err)
	}
	if err := object.Expect(objectNamespace, class, objectVersion); err != nil {
		return nil, fmt.Errorf("%s object: %w", class, err)
	}
	return object.Data, nil
}
