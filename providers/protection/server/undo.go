// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// undoRestore deletes the new server, as far as it has come, and waits until it is
// gone: then its volumes and ports are free.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !r.state.Asked {
		return nil
	}
	servers := []remote.Created{{ID: r.state.ServerID}}
	if r.state.ServerID == "" {
		if servers, err = r.find(ctx); err != nil {
			return &hook.Failure{Text: "a server may be left behind: " + hook.Reason(err), Err: err}
		}
	}
	var failures []error
	for _, s := range servers {
		failures = append(failures, r.remove(ctx, s.ID))
	}
	return hook.Join(failures...)
}

// remove deletes a server.
func (r *run) remove(ctx context.Context, id string) error {
	err := r.dissociate(ctx, id)
	if err == nil {
		_, err = r.nova.Delete(ctx, r.nova.ServiceURL("servers", url.PathEscape(id)), &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusNoContent, http.StatusAccepted, http.StatusNotFound},
		})
	}
	if err == nil {
		err = r.await(ctx, id, gone, nil)
	}
	if err != nil {
		return &hook.Failure{Text: fmt.Sprintf("server %s is left behind: %s", id, hook.Reason(err)), Err: err}
	}
	return nil
}
