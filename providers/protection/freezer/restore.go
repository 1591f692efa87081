// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// restoring is one run of a restore.
type restoring struct {
	*session
	cinder *remote.Service
	call   *protection.Call
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	s, err := p.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	cinder, err := p.cinder.For(ctx)
	return &restoring{s, cinder, c}, err
}

// restore runs the job that restores the backup into a new volume. Freezer does not
// tell which that is, so it is looked for.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	document, text, err := about.document()
	if err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		text = name // the volume has a name of Freezer's
	}
	if !r.state.Done {
		if document, err = derived(document, restoreAction, p.cfg.Storage); err != nil {
			return "", err
		}
		if !r.state.Listed { // saved before the job is made
			if r.state.Known, err = r.newVolumes(ctx); err != nil {
				return "", err
			}
			r.state.Listed = true
		}
		if err := r.run(ctx, &r.state.Job, document, text, restoreAction); err != nil {
			return "", err
		}
		r.state.Done = true
		if err := r.save(); err != nil {
			return "", err
		}
	}
	volumes, err := r.newVolumes(ctx)
	switch {
	case err != nil:
		return "", err
	case len(volumes) == 0:
		return "", &hook.Failure{Text: "Freezer has restored the volume, but its new volume is not to be found in the project"}
	case len(volumes) > 1:
		return "", &hook.Failure{Text: "It cannot be told which of the volumes " + strings.Join(volumes, ", ") + " Freezer has restored now"}
	}
	if err := c.UpdateStatus(ctx, volumes[0], protection.StatusRestoring, ""); err != nil {
		return volumes[0], err
	}
	return volumes[0], r.finish(ctx, c)
}

// timestamped is the end of the name of a volume that Freezer has restored.
// freezer: openstack/restore.py restore_cinder_by_glance
var timestamped = regexp.MustCompile(`~\d+$`)

// newVolumes returns the volumes that Freezer has restored of the resource, but for
// those that it had before. Freezer makes them of an image with the id of the volume in
// its name.
func (r *restoring) newVolumes(ctx context.Context) ([]string, error) {
	volumes, err := openstack.List[struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Image struct {
			Name string `json:"image_name"`
		} `json:"volume_image_metadata"`
	}](ctx, r.cinder.ServiceClient, volume.Volumes.Listing, volume.Volumes.Collection, nil)
	var found []string
	for _, v := range volumes {
		ours := strings.Contains(v.Image.Name, "restore_") && strings.Contains(v.Image.Name, r.call.Resource.ID)
		if ours && timestamped.MatchString(v.Name) && !slices.Contains(r.state.Known, v.ID) {
			found = append(found, v.ID)
		}
	}
	return found, err
}

// undoRestore ends the job, and deletes the volume that it has made.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil || !r.state.Listed {
		return err // or none was begun
	}
	j, err := r.earlier(ctx, &r.state.Job, restoreAction)
	if err != nil {
		return err
	}
	if j != nil {
		if _, err := r.stop(ctx, j); err != nil {
			return &hook.Failure{Text: "job " + j.ID + " is left behind: " + hook.Reason(err), Err: err}
		}
	}
	volumes, err := r.newVolumes(ctx)
	if err != nil || len(volumes) > 1 {
		return &hook.Failure{Text: fmt.Sprintf("a volume may be left behind: %v", volumes), Err: err}
	}
	for _, id := range volumes {
		if err := r.cinder.Delete(ctx, volume.Volumes, id); err != nil {
			return &hook.Failure{Text: fmt.Sprintf("volume %s is left behind: %s", id, hook.Reason(err)), Err: err}
		}
	}
	if j == nil {
		return nil
	}
	return r.end(ctx, j.ID)
}
