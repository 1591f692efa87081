// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

// originalCheckpoint is a file of testdata/original: what the original had in its
// bank, in Swift, after a protect and after the delete, and what it answered.
type originalCheckpoint struct {
	// Built tells that Bank was not recorded. It has the keys and the metadata of
	// karbor's plugins, services/protection/protection_plugins/volume.
	Built        bool                      `json:"built"`
	Bank         map[string]originalObject `json:"bank"`
	Left         map[string]originalObject `json:"left"`
	Show         json.RawMessage           `json:"show"`
	Verification originalRecord            `json:"verification"`
	Restore      originalRecord            `json:"restore"`
	Delete       struct {
		Refused string `json:"refused"`
	} `json:"delete"`

	id, plan, provider, status string
	resource                   resource.Resource
}

// originalRecord is what came of a restore or verification.
type originalRecord struct {
	Refused         string         `json:"refused"` // class of the error, "" if it was accepted
	Status          string         `json:"status"`
	ResourcesStatus string         `json:"resources_status"`
	ResourcesReason string         `json:"resources_reason"`
	Parameters      map[string]any `json:"parameters"`
}

// originalObject has a body, or a text that is repeated in a JSON string.
type originalObject struct {
	Body       string `json:"body"`
	Serialized string `json:"serialized"`
	Text       string `json:"text"`
	Times      int    `json:"times"`
}

func (o originalObject) content() string {
	if o.Times == 0 {
		return o.Body
	}
	text, err := json.Marshal(strings.Repeat(o.Text, o.Times))
	if err != nil {
		return ""
	}
	return string(text)
}

func readOriginal(t *testing.T, name string) *originalCheckpoint {
	t.Helper()
	text, err := os.ReadFile("testdata/original/" + name + ".json")
	must(t, err)
	o := &originalCheckpoint{}
	must(t, json.Unmarshal(text, o))
	var show struct {
		ID, Status string
		Plan       struct {
			ID        string
			Provider  string `json:"provider_id"`
			Resources []resource.Resource
		} `json:"protection_plan"`
	}
	must(t, json.Unmarshal(o.Show, &show))
	o.id, o.status, o.plan, o.provider, o.resource = show.ID, show.Status, show.Plan.ID, show.Plan.Provider, show.Plan.Resources[0]
	return o
}
