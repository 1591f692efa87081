// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// BriefCaller logs the project's user in once more, with a token that ends after
// its life, and returns what waits for that: until the token is old for every
// service, also for one that has looked at it before. It needs
// KARBOR_TEST_BRIEF_LOGIN.
func (p *RealProject) BriefCaller(life time.Duration) (caller *requestcontext.RequestContext, end func()) {
	p.t.Helper()
	skipWithout(p.t, "KARBOR_TEST_BRIEF_LOGIN")
	words := append(strings.Fields(os.Getenv("KARBOR_TEST_BRIEF_LOGIN")), p.Caller.ProjectName, p.Caller.ProjectName, strconv.Itoa(int(life.Seconds())))
	command := exec.CommandContext(p.t.Context(), words[0], words[1:]...)
	var complaint strings.Builder
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		p.t.Fatalf("%v: %s", err, complaint.String())
	}
	var answer struct {
		Token string
		Body  any
	}
	must(p.t, json.Unmarshal(output, &answer))
	var result tokens.CreateResult
	result.Body, result.Header = answer.Body, http.Header{"X-Subject-Token": {answer.Token}}
	token, err := result.ExtractToken()
	must(p.t, err)
	return callerOf(p.t, result), func() {
		time.Sleep(time.Until(token.ExpiresAt.Add(time.Second)))
	}
}

// Alone returns a factory whose calls carry the caller's token and none of the
// service.
func (p *RealProject) Alone() *openstack.Factory {
	f := openstack.New(openstack.Config{AuthURI: os.Getenv("KARBOR_TEST_KEYSTONE")}, nil)
	p.t.Cleanup(f.Close)
	return f
}

// Through is a transport made of a function.
type Through func(req *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f Through) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
