// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"strings"
)

// Record is what becomes of a restore or of a verification.
type Record struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	// Statuses and Reasons are by type#id, in a restore of what was made.
	Statuses map[string]string `json:"resources_status"`
	Reasons  map[string]string `json:"resources_reason"`
}

// IDs returns the ids of a type that the record names.
func (r Record) IDs(kind string) []string {
	var ids []string
	for key := range r.Statuses {
		if id, found := strings.CutPrefix(key, kind+"#"); found {
			ids = append(ids, id)
		}
	}
	return ids
}

// Restore begins a restore and returns the id of its record.
func (c *Client) Restore(checkpoint string, parameters Parameters) string {
	c.t.Helper()
	return c.read("restore", checkpoint, parameters)
}

// Restored restores a checkpoint, waits for the end and returns the record, which
// must tell of a success.
func (c *Client) Restored(checkpoint string, parameters Parameters) Record {
	c.t.Helper()
	return c.succeeded("restore", c.Restore(checkpoint, parameters))
}

// Verified verifies a checkpoint as Restored restores it.
func (c *Client) Verified(checkpoint string) Record {
	c.t.Helper()
	return c.succeeded("verification", c.read("verify", checkpoint, nil))
}

func (c *Client) read(action, checkpoint string, parameters Parameters) string {
	c.t.Helper()
	about := c.about(checkpoint)
	if parameters != nil {
		about["parameters"] = parameters
	}
	var id string
	c.Call("execute_operation", map[string]any{"action": action, "backup_plan": about}, &id)
	return id
}

// Finished waits for the end of a restore or verification, as kind says.
func (c *Client) Finished(kind, id string) Record {
	c.t.Helper()
	var r Record
	Await(c.t, "the end of "+kind+" "+id, func() (bool, any) {
		c.Call("records:show_"+kind, map[string]any{kind + "_id": id}, &r)
		return r.Status != "in_progress", r
	})
	return r
}

func (c *Client) succeeded(kind, id string) Record {
	c.t.Helper()
	r := c.Finished(kind, id)
	if r.Status != "success" {
		c.t.Fatalf("%s: %+v, want success", kind, r)
	}
	return r
}
