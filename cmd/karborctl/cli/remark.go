// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/cmd/karborctl/progress"
)

// withRemarks adds the remarks of an operation to an answer, which is an object.
func withRemarks(answer json.RawMessage, said progress.Remarked) (json.RawMessage, error) {
	object, ok := bytes.CutSuffix(bytes.TrimSpace(answer), []byte("}"))
	if !ok {
		return nil, fmt.Errorf("the worker's answer has another shape than expected: it is no object")
	}
	more, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	return append(append(bytes.Clone(object), ','), more[1:]...), nil
}
