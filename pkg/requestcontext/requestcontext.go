// SPDX-License-Identifier: Apache-2.0

// Package requestcontext is the request context that karbor-api sends with each call: the
// caller's identity, token and catalogue.
package requestcontext

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// RequestContext is the request context of one call. Empty strings stand for
// absent and for null.
type RequestContext struct {
	UserID      string
	ProjectID   string
	ProjectName string
	// IsAdmin means that karbor-api's policy considers the caller an administrator, who
	// sees every project's checkpoints.
	IsAdmin bool
	Roles   []string

	// RequestID is "req-" and a UUID. Decode makes one if the caller sent none.
	RequestID       string
	GlobalRequestID string

	// AuthToken is the caller's Keystone token, empty with noauth. It is a
	// secret: no log, metric, error or bank object may hold it.
	AuthToken string
	// AuthTokenInfo is the body of Keystone's answer to the token's validation,
	// {"token": {...}}, or nil with noauth. It is a secret too.
	AuthTokenInfo json.RawMessage
	// ServiceCatalog is the caller's catalogue in the form of Keystone v2.
	ServiceCatalog []Service

	// Extra keeps unknown members, to be sent on unchanged.
	Extra map[string]json.RawMessage
}

// Service is one entry of a service catalogue.
type Service struct {
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Endpoint holds the URLs of a service in one region.
type Endpoint struct {
	PublicURL   string `json:"publicURL,omitempty"`
	InternalURL string `json:"internalURL,omitempty"`
	AdminURL    string `json:"adminURL,omitempty"`
	Region      string `json:"region,omitempty"`
}

// Decode reads a context from the `_context_` members of a message, without
// that prefix. Null and absent members are equal; unknown ones go to Extra. The
// error names the member whose type is wrong, not its value.
// karbor: context.py
func Decode(members map[string]json.RawMessage) (*RequestContext, error) {
	c := &RequestContext{}
	wrong := "" // the first in the alphabet, so that the error is the same each time
	for name, value := range members {
		field := c.field(name)
		if field == nil {
			if c.Extra == nil {
				c.Extra = make(map[string]json.RawMessage, len(members))
			}
			c.Extra[name] = value
			continue
		}
		if err := read(value, field); err != nil && (wrong == "" || name < wrong) {
			wrong = name
		}
	}
	if wrong != "" {
		return nil, fmt.Errorf("request context: %s has a wrong type", wrong)
	}
	c.readOsloNames()
	if string(c.AuthTokenInfo) == "null" {
		c.AuthTokenInfo = nil
	}
	if c.RequestID == "" {
		c.RequestID = NewRequestID()
	}
	if c.IsAdmin && !slices.Contains(c.Roles, "admin") {
		c.Roles = append(c.Roles, "admin")
	}
	return c, nil
}

// field returns the destination of a member, nil for an unknown one.
func (c *RequestContext) field(name string) any {
	switch name {
	case "user_id":
		return &c.UserID
	case "project_id":
		return &c.ProjectID
	case "project_name":
		return &c.ProjectName
	case "is_admin":
		return &c.IsAdmin
	case "roles":
		return &c.Roles
	case "request_id":
		return &c.RequestID
	case "global_request_id":
		return &c.GlobalRequestID
	case "auth_token":
		return &c.AuthToken
	case "auth_token_info":
		return &c.AuthTokenInfo
	case "service_catalog":
		return &c.ServiceCatalog
	}
	return nil
}

// read decodes a member. Every call has a dozen members, most of them plain texts,
// which need no decoder.
func read(value json.RawMessage, into any) error {
	text, ok := into.(*string)
	if !ok || !plain(value) {
		return json.Unmarshal(value, into)
	}
	*text = string(value[1 : len(value)-1])
	return nil
}

// plain reports whether a value is a JSON string of printable ASCII without
// escapes.
func plain(value json.RawMessage) bool {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return false
	}
	for _, c := range value[1 : len(value)-1] {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// readOsloNames takes user and project from the names that oslo.context uses, if the
// sender did not add karbor's own.
func (c *RequestContext) readOsloNames() {
	for _, other := range []struct {
		name  string
		field *string
	}{{"user", &c.UserID}, {"project", &c.ProjectID}, {"tenant", &c.ProjectID}} {
		value, sent := c.Extra[other.name]
		if *other.field != "" || !sent {
			continue
		}
		var text string
		if read(value, &text) == nil {
			*other.field = text
		}
	}
}

// Text returns a text member that has no field here, such as the domains of
// oslo.context.
func (c *RequestContext) Text(name string) string {
	var text string
	if value, sent := c.Extra[name]; !sent || read(value, &text) != nil {
		return ""
	}
	return text
}

// Encode returns the members that a Karbor service reads, for calls made by this
// service.
func (c *RequestContext) Encode(now time.Time) map[string]any {
	members := map[string]any{}
	for name, value := range c.Extra {
		members[name] = value
	}
	roles := c.Roles
	if roles == nil {
		roles = []string{}
	}
	catalog := c.ServiceCatalog
	if catalog == nil {
		catalog = []Service{}
	}
	for name, value := range map[string]any{
		"user_id":           nullable(c.UserID),
		"user":              nullable(c.UserID),
		"project_id":        nullable(c.ProjectID),
		"project":           nullable(c.ProjectID),
		"project_name":      nullable(c.ProjectName),
		"is_admin":          c.IsAdmin,
		"roles":             roles,
		"request_id":        c.RequestID,
		"global_request_id": nullable(c.GlobalRequestID),
		"auth_token":        nullable(c.AuthToken),
		"auth_token_info":   c.AuthTokenInfo,
		"service_catalog":   catalog,
		"read_deleted":      "no",
		"timestamp":         now.UTC().Format("2006-01-02T15:04:05.000000"),
	} {
		members[name] = value
	}
	return members
}

// TokenCatalog returns the whole catalogue of the caller's token in the form of
// ServiceCatalog, from which karbor-api leaves out services that it does not know. It
// is empty where AuthTokenInfo has none.
// keystone: api-ref/source/v3/authenticate-v3.inc
func (c *RequestContext) TokenCatalog() []Service {
	var info struct {
		Token struct {
			Catalog []struct {
				Type, Name string
				Endpoints  []struct {
					Interface, URL string
					Region         string `json:"region_id"`
				}
			}
		}
	}
	if json.Unmarshal(c.AuthTokenInfo, &info) != nil {
		return nil
	}
	var catalog []Service
	for _, entry := range info.Token.Catalog {
		s := Service{Type: entry.Type, Name: entry.Name}
		for _, e := range entry.Endpoints {
			i := slices.IndexFunc(s.Endpoints, func(known Endpoint) bool { return known.Region == e.Region })
			if i < 0 {
				i = len(s.Endpoints)
				s.Endpoints = append(s.Endpoints, Endpoint{Region: e.Region})
			}
			switch e.Interface {
			case "public":
				s.Endpoints[i].PublicURL = e.URL
			case "internal":
				s.Endpoints[i].InternalURL = e.URL
			case "admin":
				s.Endpoints[i].AdminURL = e.URL
			}
		}
		catalog = append(catalog, s)
	}
	return catalog
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// NewRequestID returns an id for a request that came without one.
func NewRequestID() string { return "req-" + uuid.NewString() }

type contextKey struct{}

// New returns a context that carries c.
func New(ctx context.Context, c *RequestContext) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From returns the request context that ctx carries, or an empty one for work without a
// caller. It never returns nil.
func From(ctx context.Context) *RequestContext {
	if c, ok := ctx.Value(contextKey{}).(*RequestContext); ok {
		return c
	}
	return &RequestContext{}
}

// CanAccess reports whether the caller may touch the resources of a project. A caller
// without a project may touch none, not even resources without a project.
func (c *RequestContext) CanAccess(projectID string) bool {
	return c.IsAdmin || c.ProjectID != "" && c.ProjectID == projectID
}
