// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// List reads a whole listing, page by page: path is the path of the collection below
// the client's URL ("servers/detail"), and collection the member of the answer that
// holds the items ("servers").
func List[T any](ctx context.Context, client *gophercloud.ServiceClient, path, collection string, query url.Values) ([]T, error) {
	items := []T{}
	raw := query.Encode()
	seen := map[string]bool{}
	for {
		seen[raw] = true
		some, next, err := Page[T](ctx, client, path, collection, raw)
		if err != nil {
			return nil, err
		}
		items = append(items, some...)
		if next == "" {
			return items, nil
		}
		if seen[next] {
			return nil, fmt.Errorf("listing %s: the link to the next page leads to an earlier one", collection)
		}
		raw = next
	}
}

// Page reads one page of a listing as List does. query is the query of
// the URL and may be empty; next is the query of the next page, "" after the last.
//
// Only the query of the link to the next page is used, because services behind a proxy
// often write links with unreachable hosts.
func Page[T any](ctx context.Context, client *gophercloud.ServiceClient, path, collection, query string) (items []T, next string, err error) {
	address := client.ServiceURL(path)
	if query != "" {
		address += "?" + query
	}
	var page map[string]json.RawMessage
	if _, err := client.Get(ctx, address, &page, nil); err != nil {
		return nil, "", fmt.Errorf("listing %s: %w", collection, err)
	}
	if len(page[collection]) > 0 {
		if err := json.Unmarshal(page[collection], &items); err != nil {
			return nil, "", fmt.Errorf("listing %s: %w", collection, err)
		}
	}
	if len(items) > 0 {
		next, _ = nextQuery(page, collection)
	}
	return items, next, nil
}

// nextQuery finds the link to the next page: Glance has "next", Trove "links",
// the others "<collection>_links".
func nextQuery(page map[string]json.RawMessage, collection string) (string, bool) {
	href := ""
	if raw, ok := page["next"]; ok {
		_ = json.Unmarshal(raw, &href)
	}
	for _, name := range []string{collection + "_links", "links"} {
		var links []struct {
			Rel  string `json:"rel"`
			Href string `json:"href"`
		}
		if raw, ok := page[name]; !ok || json.Unmarshal(raw, &links) != nil {
			continue
		}
		for _, link := range links {
			if link.Rel == "next" {
				href = link.Href
			}
		}
	}
	if href == "" {
		return "", false
	}
	link, err := url.Parse(href)
	if err != nil || link.RawQuery == "" {
		return "", false
	}
	return link.RawQuery, true
}

// Show reads one resource: path is the path of the collection, and member
// the part of the answer that holds the resource, or "" for the whole.
func Show[T any](ctx context.Context, client *gophercloud.ServiceClient, path, id, member string) (*T, error) {
	var raw json.RawMessage
	if _, err := client.Get(ctx, client.ServiceURL(path, url.PathEscape(id)), &raw, nil); err != nil {
		return nil, fmt.Errorf("showing %s of %s: %w", id, path, err)
	}
	if member != "" {
		var outer map[string]json.RawMessage
		if err := json.Unmarshal(raw, &outer); err != nil {
			return nil, fmt.Errorf("showing %s of %s: %w", id, path, err)
		}
		raw = outer[member]
	}
	item := new(T)
	if err := json.Unmarshal(raw, item); err != nil {
		return nil, fmt.Errorf("showing %s of %s: %w", id, path, err)
	}
	return item, nil
}
