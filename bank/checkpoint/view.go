// SPDX-License-Identifier: Apache-2.0

package checkpoint

import "encoding/json"

// View is a checkpoint as the RPC shows it. It marshals to the dict of the
// original.
//
// karbor: checkpoint.py Checkpoint.to_dict
type View struct {
	ID             string          `json:"id"`
	Status         Status          `json:"status"`
	ProtectionPlan json.RawMessage `json:"protection_plan"`
	ExtraInfo      json.RawMessage `json:"extra_info"`
	ProjectID      string          `json:"project_id"`
	ResourceGraph  string          `json:"resource_graph"`
	CreatedAt      string          `json:"created_at"`
	// Timestamp is when it was made, in seconds since 1970: CreatedAt is but the day. The
	// original shows none, so View leaves it out; version 1.1 of the RPC has it.
	Timestamp int64 `json:"timestamp,omitempty"`
}

// emptyGraph is shown until the graph is built: karborclient and the dashboard
// parse the text whatever it is, and break on null.
const emptyGraph = "[{}, []]"

// View returns the checkpoint for the RPC.
func (c *Checkpoint) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	graph := emptyGraph
	if c.fields.graph != nil {
		graph = *c.fields.graph
	}
	return View{
		ID:             c.id,
		Status:         c.fields.status,
		ProtectionPlan: c.document.values[keyPlan],
		ExtraInfo:      orNull(c.document.values[keyExtraInfo]),
		ProjectID:      c.fields.project,
		ResourceGraph:  graph,
		CreatedAt:      c.fields.createdAt,
	}
}
