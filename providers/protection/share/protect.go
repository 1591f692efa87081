// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"net/url"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// metadata is the object of that name in the bank, in the key order of the
// original. karbor: share_snapshot_plugin.py
type metadata struct {
	ShareID        string  `json:"share_id"`
	Size           int     `json:"size"` // GiB
	ShareProto     string  `json:"share_proto"`
	ShareType      *string `json:"share_type"`
	ShareNetworkID *string `json:"share_network_id"`
	SnapshotID     string  `json:"snapshot_id"`
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	Snapshot remote.Made `json:"snapshot"`
}

// protecting is what a protect and its end begin with.
type protecting struct {
	*remote.Service
	state protectState
	order remote.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.manila.For(ctx)
	if err != nil {
		return nil, err
	}
	b := &protecting{Service: service, order: order(c)}
	if err := c.LoadState(ctx, &b.state); err != nil {
		return nil, err
	}
	b.order.Made = &b.state.Snapshot
	b.order.Save = func() error { return c.SaveState(ctx, b.state) }
	return b, nil
}

// order is that of the snapshot. Snapshots have no metadata in the versions of
// Manila's API that all clouds have, so the description tells whose it is.
func order(c *protection.Call) remote.Order {
	mark := remote.Mark(c)
	return remote.Order{
		Kind:  snapshots,
		Ours:  func(i *remote.Item) bool { return strings.HasSuffix(i.Description, mark) },
		Query: url.Values{"share_id": {c.Resource.ID}},
	}
}

// snapshot makes the snapshot and notes it in the bank.
func (p *Plugin) snapshot(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Snapshot.Asked {
		if err := b.Await(ctx, shares, c.Resource.ID, usable, nil); err != nil {
			return hook.Instead("Share is in a error status.", err)
		}
	}
	share, err := b.Show(ctx, shares, c.Resource.ID)
	if err != nil {
		return err
	}
	about := metadata{ShareID: c.Resource.ID}
	if err := share.Decode(&about); err != nil {
		return err
	}
	description, _ := c.Parameters.String("description")
	force, _ := c.Parameters.Bool("force") // Manila takes it, and makes no difference of it
	b.order.Body = map[string]any{
		"share_id": c.Resource.ID, "name": nil, "description": remote.Described(c, description), "force": force,
	}
	if name, ok := c.Parameters.String("snapshot_name"); ok {
		b.order.Body["name"] = name
	}
	if err := b.Make(ctx, c, b.order); err != nil {
		return err
	}
	about.SnapshotID = b.state.Snapshot.ID
	if err := b.Await(ctx, snapshots, about.SnapshotID, taken, c.Report); err != nil {
		return why(err)
	}
	if err := b.Spare(ctx, b.order); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, about)
}

// why words the end of the wait for a snapshot as the original does.
func why(err error) error {
	switch status := hook.StatusOf(err); {
	case status == poll.NotFound:
		return &hook.Failure{Text: "Unable to find snapshot.", Err: err}
	case status != "":
		return &hook.Failure{Text: "The status of snapshot is " + status, Err: err}
	}
	return err
}

func (p *Plugin) clean(ctx context.Context, c *protection.Call, _ error) error {
	return p.unprotect(ctx, c, "")
}

// unprotect takes a protect back.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call, _ string) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.Remove(ctx, c, b.order)
}

// kept is what is left of a protect.
var kept = remote.Backup{
	Kind: snapshots, Key: "snapshot_id", Whole: "available",
	Missing: "Getting share snapshot fails.", Title: "share snapshot",
}

// remove deletes the snapshot that the metadata name, if there is any, and of a
// protect that was not finished what it has made.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	return p.manila.Discard(ctx, c, was, kept, order(c))
}
