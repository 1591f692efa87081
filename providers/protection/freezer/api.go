// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// api is Freezer as one caller sees it: version 2 of its API where there is one,
// else version 1, which the original uses.
// freezer-api: api-ref/source/v2, api/v1
type api struct {
	*gophercloud.ServiceClient
	plugin  *Plugin
	project string
	base    string // of the collections, with a slash at the end
	slash   string // after the name of a collection
}

// hasVersionTwo asks for the versions. A service that does not list any has only the first.
func (a *api) hasVersionTwo(ctx context.Context, root string) (bool, error) {
	resp, err := a.Get(ctx, root, nil, &gophercloud.RequestOpts{
		KeepResponseBody: true, OkCodes: []int{http.StatusOK, http.StatusMultipleChoices},
	})
	var refused gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &refused) && refused.Actual < http.StatusInternalServerError {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask Freezer for its versions: %w", err)
	}
	defer resp.Body.Close()
	var body struct {
		Versions []struct {
			ID string `json:"id"`
		} `json:"versions"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&body); err != nil {
		return false, nil
	}
	for _, version := range body.Versions {
		if version.ID == "v2" {
			return true, nil
		}
	}
	return false, nil
}

// job has the fields that are read of a job.
type job struct {
	ID          string `json:"job_id"`
	Description string `json:"description"`
	ClientID    string `json:"client_id"`
	Schedule    struct {
		Event   string `json:"event"`
		Status  string `json:"status"`
		Result  string `json:"result"`
		Started int64  `json:"time_started"` // -1: not yet
	} `json:"job_schedule"`
	Actions []action `json:"job_actions"`
}

type action struct {
	ID     string         `json:"action_id,omitempty"`
	Action map[string]any `json:"freezer_action"`
}

// begun reports whether a job has been started.
func (j *job) begun() bool {
	return j.Schedule.Event != "" || j.Schedule.Status != "" || j.Schedule.Result != "" || j.Schedule.Started > 0
}

// does reports whether a job does an action with a volume's backup in a container.
func (j *job) does(what, volumeID, container string) bool {
	for _, a := range j.Actions {
		if a.Action["action"] == what && a.Action["cinder_vol_id"] == volumeID && a.Action["container"] == container {
			return true
		}
	}
	return false
}

// pageSize is how many jobs are listed at a time.
const pageSize = 100

func (a *api) page(ctx context.Context, offset int) ([]job, error) {
	var body struct {
		Jobs []job `json:"jobs"`
	}
	address := fmt.Sprintf("%sjobs%s?limit=%d&offset=%d", a.base, a.slash, pageSize, offset)
	if _, err := a.Get(ctx, address, &body, nil); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return body.Jobs, nil
}

// find lists the jobs that are wanted.
func (a *api) find(ctx context.Context, wanted func(*job) bool) ([]job, error) {
	var found []job
	for offset := 0; ; offset += pageSize {
		jobs, err := a.page(ctx, offset)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if wanted(&j) {
				found = append(found, j)
			}
		}
		if len(jobs) < pageSize {
			return found, nil
		}
	}
}

// show returns a job, nil if it is gone.
func (a *api) show(ctx context.Context, id string) (*job, error) {
	var j job
	_, err := a.Get(ctx, a.base+"jobs/"+url.PathEscape(id), &j, nil)
	if openstack.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("show job %s: %w", id, err)
	}
	return &j, nil
}

func (a *api) create(ctx context.Context, document map[string]any) (string, error) {
	var body struct {
		ID string `json:"job_id"`
	}
	_, err := a.Post(ctx, a.base+"jobs"+a.slash, document, &body, &gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
	if err != nil {
		return "", fmt.Errorf("create job: %w", err)
	}
	if body.ID == "" {
		return "", errors.New("the answer does not name the new job")
	}
	return body.ID, nil
}

// event starts or aborts a job.
func (a *api) event(ctx context.Context, id, name string) error {
	_, err := a.Post(ctx, a.base+"jobs/"+url.PathEscape(id)+"/event", map[string]any{name: nil}, nil, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusAccepted},
	})
	if err != nil {
		return fmt.Errorf("%s job %s: %w", name, id, err)
	}
	return nil
}

// drop deletes a job with its actions. A job that is gone is no error.
func (a *api) drop(ctx context.Context, id string) error {
	j, err := a.show(ctx, id)
	if err != nil || j == nil {
		return err
	}
	gone := &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusNoContent, http.StatusNotFound}}
	for _, action := range j.Actions {
		if action.ID == "" {
			continue
		}
		if _, err := a.Delete(ctx, a.base+"actions/"+url.PathEscape(action.ID), gone); err != nil {
			return fmt.Errorf("delete action %s of job %s: %w", action.ID, id, err)
		}
	}
	if _, err := a.Delete(ctx, a.base+"jobs/"+url.PathEscape(id), gone); err != nil {
		return fmt.Errorf("delete job %s: %w", id, err)
	}
	return nil
}

// scheduler returns the id of one that can run jobs.
func (a *api) scheduler(ctx context.Context) (string, error) {
	if a.plugin.cfg.SchedulerID != "" {
		return a.plugin.cfg.SchedulerID, nil
	}
	var body struct {
		Clients []struct {
			Client struct {
				ID string `json:"client_id"`
			} `json:"client"`
		} `json:"clients"`
	}
	if _, err := a.Get(ctx, a.base+"clients"+a.slash+"?limit=10&offset=0", &body, nil); err != nil {
		return "", fmt.Errorf("list clients: %w", err)
	}
	if len(body.Clients) == 0 {
		return "", errors.New("No freezer-scheduler client exist") //nolint:staticcheck // shown to users; karbor: volume_freezer_plugin.py
	}
	return body.Clients[a.plugin.pick(len(body.Clients))].Client.ID, nil
}

var _ poll.Source = (*api)(nil)

// Page implements poll.Source. The marker is the offset.
func (a *api) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	offset, _ := strconv.Atoi(marker)
	jobs, err := a.page(ctx, offset)
	page := make(map[string]poll.Status, len(jobs))
	for _, j := range jobs {
		page[j.ID] = poll.Status{Text: j.Schedule.Result}
	}
	next := ""
	if len(jobs) == pageSize {
		next = strconv.Itoa(offset + pageSize)
	}
	return page, next, err
}

// Show implements poll.Source.
func (a *api) Show(ctx context.Context, id string) (poll.Status, error) {
	j, err := a.show(ctx, id)
	switch {
	case err != nil:
		return poll.Status{}, err
	case j == nil:
		return poll.Status{Text: poll.NotFound}, nil
	}
	return poll.Status{Text: j.Schedule.Result}, nil
}

// await waits until a job has a result.
func (a *api) await(ctx context.Context, id string, results poll.Statuses) error {
	err := a.plugin.polls.Until(ctx, poll.Key{Service: "freezer", Project: a.project, Kind: "jobs"}, poll.Wait{
		ID: id, Statuses: results, Options: a.plugin.poll, Source: a,
	})
	if err != nil {
		return fmt.Errorf("wait for job %s: %w", id, err)
	}
	return nil
}
