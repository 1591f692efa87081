// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
)

// notFoundError is an error about something that is not there.
type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

func notFoundf(format string, args ...any) error { return notFoundError{fmt.Errorf(format, args...)} }

// candidate is something that an operator may have meant.
type candidate struct{ id, name string }

// choose returns the id of the one candidate that text names: by its id, its name, or the beginning of either.
func choose(what, text string, candidates []candidate) (string, error) {
	named := func(matches func(whole string) bool) (found []candidate) {
		for _, c := range candidates {
			if matches(c.id) || c.name != "" && matches(c.name) {
				found = append(found, c)
			}
		}
		return found
	}
	found := named(func(whole string) bool { return whole == text })
	if len(found) == 0 {
		found = named(func(whole string) bool { return strings.HasPrefix(whole, text) })
	}
	switch len(found) {
	case 0:
		return "", notFoundf("no %s has the id or name %q", what, text)
	case 1:
		return found[0].id, nil
	}
	return "", usagef("%q is the beginning of several: %s", text, describe(found))
}

func describe(candidates []candidate) string {
	var texts []string
	for _, c := range candidates {
		texts = append(texts, strings.TrimSpace(c.id+" "+c.name))
	}
	return strings.Join(texts, ", ")
}

func isID(text string) bool { return uuid.Validate(text) == nil }

// resolveProvider returns the id of the provider that an operator names. An id is taken as it is; for anything else the workers are
// asked for their providers first, so that a mistyped command does not become a request.
func (s *session) resolveProvider(ctx context.Context, text string) (string, error) {
	if isID(text) {
		return text, nil
	}
	answer, err := s.Call(ctx, client.Request{Method: "list_providers"})
	if err != nil {
		return "", err
	}
	var views []providerView
	if err := decode(answer, &views); err != nil {
		return "", err
	}
	var candidates []candidate
	for _, v := range views {
		candidates = append(candidates, candidate{v.ID, v.Name})
	}
	id, err := choose("provider", text, candidates)
	if _, missing := err.(notFoundError); missing && len(candidates) > 0 {
		return "", notFoundf("%w; there are: %s", err, describe(candidates))
	}
	return id, err
}

// latest names the newest available checkpoint of a provider.
const latest = "latest"

// beginning is text that can be the beginning of a checkpoint's id. Fewer than four digits are too easily somebody else's.
var beginning = regexp.MustCompile(`^[0-9a-f]{4}[0-9a-f-]*$`)

// resolveCheckpoint returns the id of the checkpoint that an operator names by its id, the beginning of it, or as the latest.
func (s *session) resolveCheckpoint(ctx context.Context, provider, text string) (string, error) {
	if text != latest && (isID(text) || !beginning.MatchString(text)) {
		return text, nil // the workers tell whether there is such a checkpoint
	}
	f := listFlags{sort: "desc"}
	r, err := f.request(provider)
	if err != nil {
		return "", err
	}
	answer, err := s.Call(ctx, r)
	if err != nil {
		return "", err
	}
	var views []checkpointView
	if err := decode(answer, &views); err != nil {
		return "", err
	}
	var candidates []candidate
	for _, v := range views {
		if text == latest && v.Status == "available" {
			return v.ID, nil
		}
		candidates = append(candidates, candidate{id: v.ID})
	}
	if text == latest {
		return "", notFoundf("provider %s has no available checkpoint", provider)
	}
	return choose("checkpoint", text, candidates)
}

// resolve replaces the provider and the checkpoints that follow it by their ids.
func (s *session) resolve(ctx context.Context, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	provider, err := s.resolveProvider(ctx, args[0])
	if err != nil {
		return nil, err
	}
	ids := []string{provider}
	for _, text := range args[1:] {
		id, err := s.resolveCheckpoint(ctx, provider, text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// showCheckpoint asks for a checkpoint with its remarks, of which older workers know
// nothing.
func (s *session) showCheckpoint(ctx context.Context, provider, id string, patient bool) (json.RawMessage, error) {
	r := operationRequest("show_checkpoint", map[string]any{"provider_id": provider, "checkpoint_id": id})
	r.Patient = patient
	answer, err := s.Call(ctx, r)
	if tooOld(err) {
		r.Version = ""
		answer, err = s.Call(ctx, r)
	}
	return answer, err
}

// checkResources fails for a resource that is not there: a protect of it would leave a checkpoint in error.
func (s *session) checkResources(ctx context.Context, resources []planResource) error {
	for _, r := range resources {
		answer, err := s.Call(ctx, client.Request{Method: "show_protectable_instance",
			Args: map[string]any{"protectable_type": r.Type, "protectable_id": r.ID, "parameters": map[string]any{}}})
		if err != nil {
			return fmt.Errorf("looking for %s %s (--no-check leaves that out): %w", r.Type, r.ID, err)
		}
		if string(answer) == "null" {
			return notFoundf("there is no %s with the id %s", r.Type, r.ID)
		}
	}
	return nil
}

// checkpointsOfPlan lists the caller's checkpoints of the plan that an operator names, the oldest first. An id is taken as it is;
// for anything else it compares the plans of all checkpoints.
func (s *session) checkpointsOfPlan(ctx context.Context, provider, text string) ([]checkpointView, error) {
	f := listFlags{sort: "asc", limit: prunePage}
	if isID(text) {
		f.plan = text
	}
	var all []checkpointView
	for {
		page, err := s.page(ctx, provider, f)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 { // a page that is not full need not be the last
			break
		}
		all = append(all, page...)
		f.marker = page[len(page)-1].ID
	}
	if f.plan != "" {
		return all, nil
	}
	names := map[string]string{}
	for i := range all {
		names[all[i].Plan.ID] = all[i].Plan.Name
	}
	var plans []candidate
	for _, id := range slices.Sorted(maps.Keys(names)) {
		plans = append(plans, candidate{id, names[id]})
	}
	id, err := choose("plan of a checkpoint", text, plans)
	return slices.DeleteFunc(all, func(v checkpointView) bool { return v.Plan.ID != id }), err
}

// page asks for checkpoints with the times at which they were made, which workers tell since version 1.1.
func (s *session) page(ctx context.Context, provider string, f listFlags) ([]checkpointView, error) {
	r, err := f.request(provider)
	if err != nil {
		return nil, err
	}
	r.Version = operationsVersion
	answer, err := s.Call(ctx, r)
	if err != nil && !tooOld(err) {
		return nil, err
	}
	var views []checkpointView
	if err == nil {
		err = decode(answer, &views)
	}
	if tooOld(err) || slices.ContainsFunc(views, func(v checkpointView) bool { return v.Timestamp == 0 }) {
		return nil, errors.New("the worker is too old to tell when checkpoints were made: nothing is deleted")
	}
	return views, err
}

// doubtful returns the checkpoints whose last verification failed, of those that the workers remember: the newest 1000
// within operation_retention.
func (s *session) doubtful(ctx context.Context, provider string) (map[string]bool, error) {
	r, err := (&operationFlags{kind: "verify", provider: provider}).request()
	if err != nil {
		return nil, err
	}
	answer, err := s.Call(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("looking for verifications: %w", err)
	}
	var newest []progress.Operation
	if err := decode(answer, &newest); err != nil {
		return nil, err
	}
	failed := map[string]bool{}
	for i := range newest {
		o := &newest[i]
		if _, later := failed[o.CheckpointID]; !later && (o.Status == progress.Succeeded || o.Status == progress.Failed) {
			failed[o.CheckpointID] = o.Status == progress.Failed
		}
	}
	return failed, nil
}
