// SPDX-License-Identifier: Apache-2.0

package protectable

import (
	"encoding/json"
	"slices"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
)

// ListFailed is the error of a List or a Dependents that failed with err.
func ListFailed(resourceType string, err error) error {
	return fault.ListProtectableResourceFailed(resourceType, openstack.Reason(err)).WithCause(err)
}

// ShowFailed is the error of a Show that failed with err. The original makes no
// difference between a resource that is missing and a cloud that does not
// answer.
func ShowFailed(resourceType, id string, err error) error {
	return fault.ProtectableResourceNotFound(resourceType, id, openstack.Reason(err)).WithCause(err)
}

// CheckStatus returns ProtectableResourceInvalidStatus for a status in which a
// resource of the type cannot be protected.
func CheckStatus(resourceType, id, status string, unfit []string) error {
	if slices.Contains(unfit, status) {
		return fault.ProtectableResourceInvalidStatus(resourceType, id, status)
	}
	return nil
}

// ExtraInfo renders the extra_info of a resource.
func ExtraInfo(members map[string]string) json.RawMessage {
	text, err := json.Marshal(members)
	if err != nil {
		return nil // strings always marshal
	}
	return text
}
