// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// A service, and a Keystone, that put what they were sent into the text of their
// errors make no error of ours tell a token or a password.
func TestServicesThatRepeatTheRequest(t *testing.T) {
	t.Parallel()
	refuses := true
	keystone := record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if refuses {
			echo(w, r, http.StatusForbidden)
			return
		}
		w.Header().Set("X-Subject-Token", "service-s3cret")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"token": {"expires_at": "2999-01-01T00:00:00.000000Z", "catalog": []}}`)
	})
	glance := record(t, func(_ int, w http.ResponseWriter, r *http.Request) { echo(w, r, http.StatusConflict) })
	ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{AuthToken: "caller-s3cret", AuthTokenInfo: json.RawMessage(`{}`)})
	for _, step := range []string{"the login is refused", "the service refuses"} {
		f := factory(t, Config{
			Services: map[string]ServiceConfig{"glance": {Endpoint: glance.URL}},
			Trustee:  trusteeAt(keystone.URL),
		})
		client, err := f.Image(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Get(ctx, client.ServiceURL("images"), nil, nil)
		if err == nil {
			t.Fatalf("%s: no error", step)
		}
		if text := fmt.Sprintf("%s %v %+v", Reason(err), err, err); strings.Contains(text, "s3cret") {
			t.Errorf("%s: %s", step, text)
		}
		refuses = false
	}
	if glance.count() == 0 {
		t.Error("the service was never asked")
	}
}

func echo(w http.ResponseWriter, r *http.Request, status int) {
	body, _ := io.ReadAll(r.Body)
	text, _ := json.Marshal(map[string]any{"message": fmt.Sprint("refused: ", r.Header, string(body))})
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
