// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remark"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	// Mark is this restore's own, on the server that it makes.
	Mark string `json:"mark,omitempty"`
	// Asked: Nova has been, or is about to be, asked for the server.
	Asked    bool   `json:"asked,omitempty"`
	ServerID string `json:"server_id,omitempty"`
	// Remarks are for the user.
	Remarks []string `json:"remarks,omitempty"`
}

// Keys of a server's metadata that tell whose it is.
const (
	checkpointMark = "karbor_checkpoint_id"
	resourceMark   = "karbor_resource_id"
	restoreMark    = "karbor_restore"
)

// run is one run of a restore.
type run struct {
	*cloud
	call    *protection.Call
	about   metadata
	state   restoreState
	remarks *remark.List
}

// restore makes a new server of what the same restore has made of the parts of the
// old one.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) error {
	remarks := &remark.List{}
	remarked := *c
	remarked.Status = &remark.Recorder{Next: c.Status, Remarks: remarks}
	bring := func(ctx context.Context, c *protection.Call) (string, error) { return p.bring(ctx, c, remarks) }
	clean := func(ctx context.Context, c *protection.Call, _ error) error { return p.unrestore(ctx, c) }
	return frame.Restore(bring, clean)(ctx, &remarked)
}

func (p *Plugin) bring(ctx context.Context, c *protection.Call, remarks *remark.List) (string, error) {
	r, err := p.begin(ctx, c, remarks)
	if err != nil {
		return "", err
	}
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &r.about); err != nil {
		return "", err
	}
	if err := openstack.RetryCreate(ctx, func() error { return r.make(ctx) }); err != nil {
		return r.state.ServerID, err
	}
	id := r.state.ServerID
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	for _, step := range []func(context.Context) error{r.awaitStart, r.fixCards, r.attachVolumes, r.associate} {
		if err := step(ctx); err != nil {
			return id, err
		}
	}
	return id, nil
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call, remarks *remark.List) (*run, error) {
	cloud, err := p.cloud(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{cloud: cloud, call: c, remarks: remarks}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	for _, text := range r.state.Remarks {
		remarks.Add("%s", text)
	}
	return r, nil
}

func (r *run) save(ctx context.Context) error {
	r.state.Remarks = r.remarks.Texts()
	return r.call.SaveState(ctx, r.state)
}

// marks are the metadata by which this restore finds its server.
func (r *run) marks() map[string]string {
	return map[string]string{
		checkpointMark: r.call.Checkpoint.ID(), resourceMark: r.call.Resource.ID, restoreMark: r.state.Mark,
	}
}

// make asks for the server, unless an earlier run or call has.
func (r *run) make(ctx context.Context) error {
	if err := r.find(ctx); err != nil || r.state.ServerID != "" {
		return err
	}
	body, err := r.request(ctx)
	if err != nil {
		return err
	}
	if r.state.Mark == "" {
		r.state.Mark = r.plugin.newID()
	}
	r.state.Asked = true
	if err := r.save(ctx); err != nil {
		return err
	}
	body["metadata"] = with(r.about.Server.Metadata, r.marks())
	var answer struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
	}
	if _, err := r.nova.Post(ctx, r.nova.ServiceURL("servers"), map[string]any{"server": body}, &answer, nil); err != nil {
		return fmt.Errorf("create server: %w", err)
	}
	if r.state.ServerID = answer.Server.ID; r.state.ServerID == "" {
		return fmt.Errorf("the answer does not name the new server")
	}
	return r.save(ctx)
}

// find looks for the server of a run that did not live to note its id.
func (r *run) find(ctx context.Context) error {
	if r.state.ServerID != "" || !r.state.Asked {
		return nil
	}
	servers, err := openstack.List[server](ctx, r.nova, "servers/detail", "servers", nil)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.Metadata[restoreMark] == r.state.Mark {
			r.state.ServerID = s.ID
			return r.save(ctx)
		}
	}
	return nil
}

// awaitStart waits until the server runs.
func (r *run) awaitStart(ctx context.Context) error {
	err := r.await(ctx, r.state.ServerID, up, func(percent int) { r.call.Report(percent * 9 / 10) })
	if !hook.Unfit(err) {
		return err
	}
	text := "The server does not start successfully"
	if s, showErr := openstack.Show[server](ctx, r.nova, "servers", r.state.ServerID, "server"); showErr == nil && s.Fault.Message != "" {
		text += ": " + s.Fault.Message
	}
	return &hook.Failure{Text: text, Err: err}
}
