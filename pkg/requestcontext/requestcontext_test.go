// SPDX-License-Identifier: Apache-2.0

package requestcontext

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func members(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := Decode(members(t, `{"user_id":"u","project_id":"p","project_name":null,"is_admin":true,"roles":["member"],
		"request_id":"req-1","auth_token":null,"auth_token_info":null,"quota_class":null,
		"service_catalog":[{"type":"image","name":"glance","endpoints":[{"publicURL":"http://g","region":"R"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &RequestContext{
		UserID: "u", ProjectID: "p", IsAdmin: true, Roles: []string{"member", "admin"}, RequestID: "req-1",
		ServiceCatalog: []Service{{Type: "image", Name: "glance", Endpoints: []Endpoint{{PublicURL: "http://g", Region: "R"}}}},
		Extra:          map[string]json.RawMessage{"quota_class": json.RawMessage("null")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeOsloNames(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"user":"u","project":"p"}`, `{"user":"u","tenant":"p"}`, `{"user":"u","project_id":"p"}`} {
		got, err := Decode(members(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if got.UserID != "u" || got.ProjectID != "p" {
			t.Errorf("%s: user %q project %q", text, got.UserID, got.ProjectID)
		}
		if !strings.HasPrefix(got.RequestID, "req-") || len(got.RequestID) != 40 {
			t.Errorf("%s: made request id %q", text, got.RequestID)
		}
	}
}

func TestDecodeNamesTheMemberNotItsValue(t *testing.T) {
	t.Parallel()
	_, err := Decode(members(t, `{"auth_token":["s3cret"]}`))
	if err == nil || !strings.Contains(err.Error(), "auth_token") {
		t.Fatalf("error %v does not name the member", err)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v holds a secret", err)
	}
}

func TestEncodeReadsBack(t *testing.T) {
	t.Parallel()
	c := &RequestContext{UserID: "u", ProjectID: "p", IsAdmin: true, Roles: []string{"admin"}, RequestID: "req-1", AuthToken: "t",
		AuthTokenInfo: json.RawMessage(`{"token":{}}`), ServiceCatalog: []Service{{Type: "image"}}}
	encoded, err := json.Marshal(c.Encode(time.Unix(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(members(t, string(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	got.Extra = nil
	c.ServiceCatalog[0].Endpoints = nil
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFromIsNeverNil(t *testing.T) {
	t.Parallel()
	if From(context.Background()) == nil {
		t.Fatal("nil request context")
	}
	c := &RequestContext{ProjectID: "p"}
	ctx := New(context.Background(), c)
	if From(ctx) != c {
		t.Error("not the context that was put in")
	}
	if !c.CanAccess("p") || c.CanAccess("q") || !(&RequestContext{IsAdmin: true}).CanAccess("q") {
		t.Error("access rule is wrong")
	}
}

// The short way of reading plain texts must agree with encoding/json.
func TestReadTexts(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`""`, `"a b~"`, `"é"`, `"\u00e9\n"`, `"a\"b"`, `null`, `7`, `"`, `"a`, `"a"b"`, `["x"]`, "\"\x01\"", ` "a" `} {
		var got, want string
		gotErr, wantErr := read(json.RawMessage(value), &got), json.Unmarshal([]byte(value), &want)
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%s: got %q, %v, want %q, %v", value, got, gotErr, want, wantErr)
		}
	}
}
