// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// propertiesKey is the object of the bank that says what the share is like. The original
// does not know it, and leaves it alone.
const propertiesKey = "share"

// properties are what the original does not keep of a share.
type properties struct {
	Description *string           `json:"description"`
	Public      bool              `json:"is_public"`
	Metadata    map[string]string `json:"metadata"`
	Rules       []rule            `json:"access_rules"`
}

// rule is an access rule. manila: api-ref/source/share-access-rules.inc
type rule struct {
	Type  string `json:"access_type"` // "ip", "user", "cert", "cephx"
	To    string `json:"access_to"`
	Level string `json:"access_level"` // "rw" or "ro"
	State string `json:"state,omitempty"`
}

func (r rule) String() string { return r.Level + " for " + r.Type + " " + r.To }

// same reports whether two rules are about the same client. Manila takes no second one.
func (r rule) same(other rule) bool { return r.Type == other.Type && r.To == other.To }

// withActions is the microversion from which actions have the names that are used here. Those
// that list rules go with 2.45.
// manila: api/openstack/rest_api_version_history.rst
const withActions = "2.7"

// act posts an action to a share.
func act(ctx context.Context, s *remote.Service, id, action string, body, answer any) error {
	manila := openstack.WithMicroversion(s.ServiceClient, withActions)
	_, err := manila.Post(ctx, manila.ServiceURL("shares", url.PathEscape(id), "action"), map[string]any{action: body}, answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusAccepted},
	})
	if err != nil {
		return fmt.Errorf("%s of share %s: %w", action, id, err)
	}
	return nil
}

// rulesOf lists the access rules of a share but those that are not in force.
func rulesOf(ctx context.Context, s *remote.Service, id string) ([]rule, error) {
	var answer struct {
		Rules []rule `json:"access_list"`
	}
	err := act(ctx, s, id, "access_list", nil, &answer)
	return slices.DeleteFunc(answer.Rules, func(r rule) bool { return r.State == "error" || r.State == "denying" || r.State == "queued_to_deny" }), err
}

// keep writes what a share is like into the bank.
func keep(ctx context.Context, s *remote.Session, share *remote.Item) error {
	var p properties
	err := share.Decode(&p)
	if err == nil {
		p.Rules, err = rulesOf(ctx, s.Service, s.Call.Resource.ID)
	}
	for i := range p.Rules {
		p.Rules[i].State = ""
	}
	if err != nil {
		return err
	}
	return s.Call.Section.PutJSON(ctx, propertiesKey, p)
}

// read returns what a share was like. The original's backups do not tell.
func read(ctx context.Context, c *protection.Call) (p properties, err error) {
	err = c.Section.GetJSON(ctx, propertiesKey, &p)
	if errors.Is(err, bank.ErrNotFound) {
		err = nil
	}
	return p, err
}

// concede makes a share for its project alone, if nobody but administrators may make public
// ones, which shows when one is asked for.
func concede(r *remote.Request, refused error) error {
	if refused == nil || !gophercloud.ResponseCodeIs(refused, http.StatusForbidden) {
		return refused
	}
	delete(r.Body, "is_public")
	r.Call.Remark(remark.Remark{Aspect: "visibility of a share", Was: "public", Is: "private", Why: hook.Reason(refused)})
	return nil
}

// allow gives the new share the access rules of the old one. An earlier run may have given
// it some.
func allow(ctx context.Context, r *remote.Request) error {
	kept, err := read(ctx, r.Call)
	if err != nil || len(kept.Rules) == 0 {
		return err
	}
	there, err := rulesOf(ctx, r.Service, r.Created.ID)
	if err != nil {
		return err
	}
	for _, wanted := range kept.Rules {
		if slices.ContainsFunc(there, wanted.same) {
			continue
		}
		err := act(ctx, r.Service, r.Created.ID, "allow_access", wanted, nil)
		if err != nil && !refused(err) {
			return err
		}
		if err != nil {
			r.Call.Remark(remark.Remark{Aspect: "access rule", Was: wanted.String(), Why: hook.Reason(err)})
		}
	}
	return nil
}

// refused reports whether Manila does not want a rule, and is not in trouble.
func refused(err error) bool {
	for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict} {
		if gophercloud.ResponseCodeIs(err, code) {
			return true
		}
	}
	return false
}
