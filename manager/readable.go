// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// checkReadable returns an error for a value that a Python program could not read. The
// text of a string may be JSON too, as that of extra_info is.
func checkReadable(value json.RawMessage, depth int) error {
	if err := pyjson.Check(value, depth); err != nil {
		return err
	}
	var text string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil && json.Valid([]byte(text)) {
		return pyjson.Check([]byte(text), depth)
	}
	return nil
}

// viewDepth is how deep values of a checkpoint may be nested that is shown: deeper than
// those that come in, for what is in the bank came in by any worker.
const viewDepth = 3 * pyjson.MaxDepth

// checkView returns an error for a checkpoint that its callers could not read: one in a
// listing would cost them all others.
func checkView(v checkpoint.View) error {
	for _, value := range []json.RawMessage{v.ProtectionPlan, v.ExtraInfo, json.RawMessage(v.ResourceGraph)} {
		if err := checkReadable(value, viewDepth); err != nil {
			return err
		}
	}
	return nil
}
