// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	// Mark is this restore's own, on the server that it makes.
	Mark string `json:"mark,omitempty"`
	// Asked: Nova has been, or is about to be, asked for the server.
	Asked    bool   `json:"asked,omitempty"`
	ServerID string `json:"server_id,omitempty"`
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
	call  *protection.Call
	about metadata
	state restoreState

	multiattach bool // of the volume that the server boots from
}

func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	r, err := p.begin(ctx, c)
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

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*run, error) {
	cloud, err := p.cloud(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{cloud: cloud, call: c}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	if r.state.Mark == "" {
		r.state.Mark = p.newID()
	}
	return r, nil
}

func (r *run) save(ctx context.Context) error { return r.call.SaveState(ctx, r.state) }

// marks are the metadata by which this restore finds its server.
func (r *run) marks() map[string]string {
	return map[string]string{
		checkpointMark: r.call.Checkpoint.ID(), resourceMark: r.call.Resource.ID, restoreMark: r.state.Mark,
	}
}

// make asks for the server, unless an earlier run or call has.
func (r *run) make(ctx context.Context) error {
	created := remote.Created{Asked: r.state.Asked, ID: r.state.ServerID}
	save := func() error {
		r.state.Asked, r.state.ServerID = created.Asked, created.ID
		return r.save(ctx)
	}
	return remote.Once(ctx, &created, save, r.find, r.create)
}

// create asks for the server. What cannot be as it was is a remark of this run.
func (r *run) create(ctx context.Context) (remote.Created, error) {
	body, err := r.request(ctx)
	if err == nil {
		err = r.save(ctx)
	}
	if err != nil {
		return remote.Created{}, err
	}
	body["metadata"] = with(r.about.Server.Metadata, r.marks())
	var answer struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
	}
	nova := r.nova
	if body["networks"] == nil {
		body["networks"], nova = "none", openstack.WithMicroversion(nova, withoutNetworks)
	}
	if r.multiattach {
		nova = openstack.WithMicroversion(nova, withMultiattach)
	}
	if _, err := nova.Post(ctx, nova.ServiceURL("servers"), map[string]any{"server": body}, &answer, nil); err != nil {
		return remote.Created{}, fmt.Errorf("creating server: %w", err)
	}
	if answer.Server.ID == "" {
		return remote.Created{}, errors.New("the answer does not name the new server")
	}
	return remote.Created{ID: answer.Server.ID}, nil
}

// find lists the servers of this restore.
func (r *run) find(ctx context.Context) ([]remote.Created, error) {
	servers, err := openstack.List[server](ctx, r.nova, "servers/detail", "servers", nil)
	var found []remote.Created
	for _, s := range servers {
		if s.Metadata[restoreMark] == r.state.Mark {
			found = append(found, remote.Created{ID: s.ID})
		}
	}
	return found, err
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
