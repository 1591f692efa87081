// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/flow"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// planning is a plugin whose restore needs the volumes of a server, as its plan does. What
// is in gone cannot be restored.
func planning(gone map[string]bool) hookPlugin {
	return hookPlugin{func(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
		o, err := inBank(done).operation(kind, r)
		if kind != protection.Restore || err != nil {
			return o, err
		}
		o.Plan = func(_ context.Context, c *protection.Call) (map[string]string, error) {
			if gone[r.ID] {
				return nil, fault.InvalidInput("no " + r.ID)
			}
			if _, there := c.NewResources.Get(volume.ID); r.ID == server.ID && !there {
				return nil, fault.InvalidInput("no volume for the server")
			}
			c.Remark(remark.Remark{Aspect: "zone", Was: "az1", Why: "gone"})
			name, _ := c.Parameters.String("restore_name")
			return map[string]string{"name": name}, nil
		}
		return o, nil
	}}
}

var pair = children{server.Key(): {volume}}

// What a restore would make is told with the parameters of the request, in the order in
// which it would be made, and neither bank, journal nor tables change.
func TestForetell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gone    map[string]bool
		want    []flow.Planned
		remarks []remark.Remark
	}{
		"all there": {nil, []flow.Planned{
			{Type: volume.Type, ID: volume.ID, Name: &volume.Name, Makes: map[string]string{"name": "back"}},
			{Type: server.Type, ID: server.ID, Name: &server.Name, Makes: map[string]string{"name": ""}},
		}, []remark.Remark{remarkOn(volume, "gone"), remarkOn(server, "gone")}},
		"no volume": {map[string]bool{volume.ID: true}, []flow.Planned{
			{Type: volume.Type, ID: volume.ID, Name: &volume.Name, Error: "Invalid input received: no v"},
			{Type: server.Type, ID: server.ID, Name: &server.Name, Error: "Invalid input received: no volume for the server"},
		}, []remark.Remark{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planning(c.gone), pair)
			cp := protected(t, b, server)
			memory := b.bank.Plugin.(*banktest.Memory)
			before, rows := memory.Objects(), maps.Clone(b.records.restores)
			got, err := b.engine.Foretell(b.ctx, b.provider, cp, Parameters{volume.Type: {"restore_name": json.RawMessage(`"back"`)}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&Foretold{Resources: c.want, Remarks: c.remarks}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, memory.Objects()); diff != "" {
				t.Errorf("the bank (-want +got):\n%s", diff)
			}
			entries, err := b.engine.Operations(b.ctx, journal.Filter{})
			if err != nil || len(entries) != 1 || len(rows) != len(b.records.restores) {
				t.Errorf("there are %d operations and %d records: %v", len(entries), len(b.records.restores), err)
			}
		})
	}
}

// What is asked of a plan wrongly is refused as it is of a restore.
func TestForetellRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, planning(nil), pair)
	cp := protected(t, b, server)
	_, err := b.engine.Foretell(b.ctx, b.provider, cp, Parameters{resource.Image: {}})
	requireFault(t, err, "InvalidInput", "Invalid input received: parameters of OS::Glance::Image: there is no such resource among those of the operation")
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.engine.Foretell(ctx, b.provider, cp, nil); err == nil || errors.Is(err, errNoGraph) {
		t.Errorf("got %v", err)
	}
}

// A verification that finds all backups whole tells what of them could not come back.
func TestVerifyForetells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gone map[string]bool
		want []remark.Remark
	}{
		"all there": {nil, []remark.Remark{remarkOn(volume, "gone"), remarkOn(server, "gone")}},
		"no server": {map[string]bool{server.ID: true}, []remark.Remark{remarkOn(volume, "gone"),
			{Resource: remark.Resource(server.Key()), Aspect: "restore", Was: "possible", Is: "not possible", Why: "Invalid input received: no s"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planning(c.gone), pair)
			cp := protected(t, b, server)
			b.records.restores["v"] = database.Record{ID: "v"}
			if err := b.engine.Verify(b.ctx, Message{}, b.provider, cp, Record{ID: "v", ProjectID: project}); err != nil {
				t.Fatal(err)
			}
			b.finish()
			views, err := b.engine.Operations(b.ctx, journal.Filter{Kind: string(protection.Verify)})
			if err != nil || len(views) != 1 || views[0].Status != string(journal.Succeeded) {
				t.Fatal(views, err)
			}
			shown, err := b.engine.Operation(b.ctx, views[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, shown.Remarks); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
