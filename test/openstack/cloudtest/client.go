// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
)

// Client calls the workers of a site as the user of a project.
type Client struct {
	// Provider is the id of the site's provider.
	Provider string

	t          testing.TB
	project    *openstacktest.RealProject
	connection *client.Client
}

// Try sends a request and decodes its answer into answer, unless that is nil. A
// namespace may stand before the method, with a colon.
func (c *Client) Try(method string, args map[string]any, answer any) error {
	c.t.Helper()
	request := client.Request{Method: method, Args: args, Patient: true}
	if namespace, name, found := strings.Cut(method, ":"); found {
		request.Namespace, request.Method = namespace, name
	}
	text, err := c.connection.Call(context.Background(), request)
	if err == nil && answer != nil {
		must(c.t, json.Unmarshal(text, answer))
	}
	return err
}

// Call is Try for what must succeed.
func (c *Client) Call(method string, args map[string]any, answer any) {
	c.t.Helper()
	if err := c.Try(method, args, answer); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
}

// Refused sends a request that must fail with an exception of a class.
func (c *Client) Refused(class, method string, args map[string]any) {
	c.t.Helper()
	err := c.Try(method, args, nil)
	if !errors.Is(err, &rpc.Failure{Class: class}) {
		c.t.Errorf("%s: %v, want %s", method, err, class)
	}
}

// Parameters are by resource, as its type or as type#id, and by name.
type Parameters map[string]map[string]any

// Protect begins to protect resources and returns the checkpoint's id.
func (c *Client) Protect(resources ...resource.Resource) string {
	c.t.Helper()
	planned := []map[string]any{}
	for _, r := range resources {
		planned = append(planned, map[string]any{"type": r.Type, "id": r.ID, "name": r.Name})
	}
	var id string
	c.Call("protect", map[string]any{
		"plan": map[string]any{
			"id": uuid.NewString(), "name": "of a test", "provider_id": c.Provider, "project_id": c.project.ID(),
			"resources": planned, "parameters": map[string]any{},
		},
		"checkpoint_properties": map[string]any{},
	}, &id)
	return id
}

// Checkpoint is one as the service shows it.
type Checkpoint struct {
	ID            string `json:"id"`
	ProjectID     string `json:"project_id"`
	Status        string `json:"status"`
	ResourceGraph string `json:"resource_graph"`
}

// about are the arguments of a call about a checkpoint.
func (c *Client) about(checkpoint string) map[string]any {
	return map[string]any{"provider_id": c.Provider, "checkpoint_id": checkpoint}
}

// Show returns a checkpoint.
func (c *Client) Show(checkpoint string) Checkpoint {
	c.t.Helper()
	var shown Checkpoint
	c.Call("show_checkpoint", c.about(checkpoint), &shown)
	return shown
}

// Settled waits until nobody works on a checkpoint, and returns its status.
func (c *Client) Settled(checkpoint string) string {
	c.t.Helper()
	var status string
	Await(c.t, "the end of the work on checkpoint "+checkpoint, func() (bool, any) {
		status = c.Show(checkpoint).Status
		return status != "protecting" && status != "deleting", status
	})
	return status
}

// Protected protects resources, waits for the end and returns the id of the
// checkpoint, which must be available.
func (c *Client) Protected(resources ...resource.Resource) string {
	c.t.Helper()
	id := c.Protect(resources...)
	if status := c.Settled(id); status != "available" {
		c.t.Fatalf("checkpoint %s is %s, want available", id, status)
	}
	return id
}

// Deleted deletes a checkpoint and waits for the end.
func (c *Client) Deleted(checkpoint string) {
	c.t.Helper()
	c.Call("delete", c.about(checkpoint), nil)
	if status := c.Settled(checkpoint); status != "deleted" {
		c.t.Fatalf("checkpoint %s is %s, want deleted", checkpoint, status)
	}
}
