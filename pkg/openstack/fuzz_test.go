// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
)

func FuzzReason(f *testing.F) {
	for _, seed := range []string{
		`{"itemNotFound": {"message": "gone"}}`, `{"message": 1}`, `{"a": []}`, `[]`, `null`,
		"<html><body><h1>404</h1>text<br /></body></html>", "<<<", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := Reason(gophercloud.ErrUnexpectedResponseCode{Actual: http.StatusNotFound, Body: body})
		if !strings.HasSuffix(text, " (HTTP 404)") || text == " (HTTP 404)" {
			t.Errorf("%q gives %q", body, text)
		}
	})
}

func FuzzNextQuery(f *testing.F) {
	f.Add([]byte(`{"next": "/v2/images?marker=a"}`))
	f.Add([]byte(`{"images_links": [{"rel": "next", "href": "http://x/?marker=a"}]}`))
	f.Add([]byte(`{"links": {}, "next": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var page map[string]json.RawMessage
		if json.Unmarshal(text, &page) != nil {
			return
		}
		if query, ok := nextQuery(page, "images"); ok != (query != "") {
			t.Errorf("%q, %v", query, ok)
		}
	})
}
