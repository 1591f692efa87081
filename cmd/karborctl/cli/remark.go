// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

// printRemarks shows a table of the remarks in an answer below it, if there are any. The
// forms that programs read line by line stay the answer alone.
func (a *App) printRemarks(answer json.RawMessage) error {
	var said progress.Remarked
	if err := decode(answer, &said); err != nil {
		return err
	}
	if a.options.format != formatTable || len(said.Remarks) == 0 && said.More == 0 {
		return nil
	}
	t := table.New("resource", "aspect", "was", "is", "why")
	for _, r := range said.Remarks {
		t.Add(r.Resource.Type+" "+r.Resource.ID, r.Aspect, r.Was, r.Is, r.Why)
	}
	if said.More > 0 {
		t.Add("", fmt.Sprintf("about %d more", said.More), "", "", "")
	}
	return a.printBelow(t)
}

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
