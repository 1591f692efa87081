// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/cmd/karborctl/identity"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

const missing = "00000000-0000-0000-0000-000000000001"

func TestCheckpointFromCradleToGrave(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	made := c.run(t.Context(), "checkpoint", "create", testProvider, "--resource", "server=0f9e2d3c-6a57-4c1e-9b9e-3d4b5a697881:web", "--name", "demo", "--wait")
	if made.code != ExitOK {
		t.Fatalf("create: %d: %s", made.code, made.err)
	}
	id := strings.TrimSpace(c.must(t, "checkpoint", "list", testProvider, "-f", "value", "-c", "id"))
	if !strings.HasSuffix(made.err, "karborctl: checkpoint "+id+": available\n") {
		t.Errorf("create tells %q", made.err)
	}
	shown := c.must(t, "checkpoint", "show", testProvider, id)
	if shown != made.out {
		t.Errorf("create --wait printed\n%s\nand show\n%s", made.out, shown)
	}
	for _, want := range []string{
		"status       available\n", "plan_name    demo\n", `extra_info   {"created_by": "manual"}`, "project_id   " + identity.Anonymous,
		"resource     OS::Nova::Server 0f9e2d3c-6a57-4c1e-9b9e-3d4b5a697881 web\n", "resource       OS::Cinder::Volume " + theVolume.ID + " data\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("show lacks %q:\n%s", want, shown)
		}
	}
	var view map[string]any
	if err := json.Unmarshal([]byte(c.must(t, "-f", "json", "checkpoint", "show", testProvider, id)), &view); err != nil || view["id"] != id {
		t.Errorf("show -f json: %v, %v", view["id"], err)
	}
	for _, action := range []string{"verify", "restore"} {
		read := c.must(t, action, testProvider, id, "--wait")
		record := regexp.MustCompile(`id +(\S+)\nstatus +success\n`).FindStringSubmatch(read)
		if record == nil {
			t.Fatalf("%s printed\n%s", action, read)
		}
		if again := c.must(t, action, "show", record[1]); again != read {
			t.Errorf("%s show printed\n%s\nafter\n%s", action, again, read)
		}
	}
	c.must(t, "checkpoint", "reset", testProvider, id, "--state", "error")
	gone := c.run(t.Context(), "checkpoint", "delete", testProvider, id, missing, "--wait")
	if gone.code != ExitFailed || !strings.Contains(gone.err, "checkpoint "+missing+": InvalidInput: ") || !strings.Contains(gone.out, id+"  deleted") {
		t.Errorf("delete of two, one missing: %+v", gone)
	}
	if left := c.must(t, "checkpoint", "list", testProvider, "-f", "json"); left != "[]\n" {
		t.Errorf("left after the deletion: %s", left)
	}
}

func TestListOptions(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	plan := "5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a"
	create := func(args ...string) string {
		return strings.TrimSpace(c.must(t, append([]string{"checkpoint", "create", testProvider, "--resource", "volume=1", "--wait", "-f", "value", "-c", "id"}, args...)...))
	}
	mine, theirs := create("--plan-id", plan), create("--project", "p2")
	for name, step := range map[string]struct {
		args []string
		want string
	}{
		"own":              {nil, mine},
		"plan":             {[]string{"--plan", plan}, mine},
		"other plan":       {[]string{"--plan", missing}, ""},
		"day":              {[]string{"--start", "2020-01-01", "--end", "2999-01-01"}, mine},
		"end alone":        {[]string{"--end", "2020-01-01"}, ""},
		"limit and marker": {[]string{"--marker", mine, "--limit", "1", "--sort", "desc"}, ""},
		"as another":       {[]string{"--project", "p2"}, theirs},
		"admin's project":  {[]string{"--project", "p2", "--admin"}, theirs},
	} {
		got := strings.TrimSpace(c.must(t, append([]string{"checkpoint", "list", testProvider, "-f", "value", "-c", "id"}, step.args...)...))
		if got != step.want {
			t.Errorf("%s: %q, want %q", name, got, step.want)
		}
	}
	all := c.must(t, "checkpoint", "list", testProvider, "--all-projects", "--admin")
	if !strings.Contains(all, mine) || !strings.Contains(all, theirs) {
		t.Errorf("all projects:\n%s", all)
	}
}

func TestProvidersAndProtectables(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	for command, want := range map[string]string{
		"provider list":                                  "ID                                    NAME   STATE  DESCRIPTION\n" + testProvider + "  No-Op  up     none\n",
		"protectable list":                               "TYPE                SHORT\nOS::Nova::Server    server\nOS::Cinder::Volume  volume\n",
		"protectable list volume":                        "ID                                    NAME\n" + theVolume.ID + "  data\n",
		"protectable show server":                        "FIELD            VALUE\nname             OS::Nova::Server\ndependent_types  OS::Cinder::Volume\n",
		"protectable show volume " + theVolume.ID:        "FIELD       VALUE\ntype        OS::Cinder::Volume\nid          " + theVolume.ID + "\nname        data\nextra_info  {\"az\":\"nova\"}\n",
		"protectable dependents server 1 -c id":          "ID\n" + theVolume.ID + "\n",
		"-f value -c name provider show " + testProvider: "No-Op\n",
		"rpc call list_protectable_types":                "[\n  \"OS::Nova::Server\",\n  \"OS::Cinder::Volume\"\n]\n",
		"--server host rpc call show_protectable_type protectable_type=OS::Nova::Server --version 1.0": "{\n  \"name\": \"OS::Nova::Server\",\n  \"dependent_types\": [\n    \"OS::Cinder::Volume\"\n  ]\n}\n",
		"version": "karborctl 1.2.3\n",
	} {
		if diff := cmp.Diff(want, c.must(t, strings.Fields(command)...)); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	for command, want := range map[string]outcome{
		"checkpoint show " + testProvider + " " + missing: {ExitNotFound, "", "CheckpointNotFound: Checkpoint " + missing + " could not be found."},
		"provider show x":                                      {ExitNotFound, "", `no provider has the id or name "x"; there are: ` + testProvider + " No-Op"},
		"provider show " + missing:                             {ExitNotFound, "", "ProviderNotFound: Provider " + missing + " could not be found."},
		"restore shw " + missing:                               {ExitNotFound, "", `no provider has the id or name "shw"; there are: ` + testProvider + " No-Op"},
		"checkpoint show No-Op latest":                         {ExitNotFound, "", "provider " + testProvider + " has no available checkpoint"},
		"checkpoint create No-Op --resource volume=" + missing: {ExitNotFound, "", "there is no OS::Cinder::Volume with the id " + missing},
		"checkpoint create No-Op --resource image=" + missing:  {ExitNotFound, "", "looking for OS::Glance::Image " + missing + " (--no-check leaves that out): ProtectableTypeNotFound: ProtectableType OS::Glance::Image could not be found."},
		"checkpoint copy No-Op --plan-id " + missing:           {ExitUsage, "", "nothing to copy: no available checkpoint of plan " + missing + " holds resources (see karborctl checkpoint copy --help)"},
		"protectable show volume " + missing:                   {ExitNotFound, "", "there is no OS::Cinder::Volume with the id " + missing},
		"rpc call nosuch":                                      {ExitFailed, "", "NoSuchMethod: Endpoint does not support RPC method nosuch"},
		"restore show x":                                       {ExitNotFound, "", "RestoreNotFound: Restore x could not be found."},
		"checkpoint list x --all-projects":                     {ExitFailed, "", "only an administrator can list the checkpoints of other projects (without credentials: --admin)"},
		"provider list --topic other":                          {ExitNoAnswer, "", "no worker listens on topic other (exchange openstack) at memory; is karbor-protection running, and is this its protection_topic (--topic)?"},
		"provider list --server other":                         {ExitNoAnswer, "", "no worker listens on topic karborctl-test, server other (exchange openstack) at memory; is karbor-protection running, and is this its protection_topic (--topic)?"},
		"rpc cast nosuch --topic other":                        {ExitNoAnswer, "", "no worker listens on topic other (exchange openstack) at memory; is karbor-protection running, and is this its protection_topic (--topic)?"},
		"chekpoint":                                            {ExitUsage, "", `unknown command "chekpoint" for "karborctl"; did you mean checkpoint? (see karborctl --help)`},
		"checkpoint lst":                                       {ExitUsage, "", `unknown command "lst" for "karborctl checkpoint"; did you mean list? (see karborctl checkpoint --help)`},
		"checkpoint show a":                                    {ExitUsage, "", "CHECKPOINT is missing (see karborctl checkpoint show --help)"},
		"checkpoint show a b c":                                {ExitUsage, "", `unexpected argument "c" (see karborctl checkpoint show --help)`},
		"checkpoint delete a":                                  {ExitUsage, "", "CHECKPOINT is missing (see karborctl checkpoint delete --help)"},
		"checkpoint create a":                                  {ExitUsage, "", "nothing to protect: --resource or --plan-file is missing (see karborctl checkpoint create --help)"},
		"checkpoint reset a b --state deleted":                 {ExitUsage, "", "--state: want available or error (see karborctl checkpoint reset --help)"},
		"checkpoint copy a":                                    {ExitUsage, "", "--plan-id is missing (see karborctl checkpoint copy --help)"},
		"checkpoint list a --plan=":                            {ExitUsage, "", "--plan is empty (see karborctl checkpoint list --help)"},
		"operation list --checkpoint=":                         {ExitUsage, "", "--checkpoint is empty (see karborctl operation list --help)"},
		"checkpoint list a --start 1.1.2020":                   {ExitUsage, "", `--start: want a day such as 2026-01-31, got "1.1.2020" (see karborctl checkpoint list --help)`},
		"checkpoint list a --sort up":                          {ExitUsage, "", "--sort: want asc or desc (see karborctl checkpoint list --help)"},
		"provider list -c nosuch":                              {ExitUsage, "", `no column "nosuch"; there are: id, name, state, description (see karborctl provider list --help)`},
		"help nosuch":                                          {ExitUsage, "", `unknown command "nosuch" for "karborctl" (see karborctl help --help)`},
		"help provider lst":                                    {ExitUsage, "", `unknown command "lst" for "karborctl provider"; did you mean list? (see karborctl help --help)`},
		"provider list -f xml":                                 {ExitUsage, "", `invalid argument "xml" for "-f, --format" flag: want table, json, yaml, csv or value (see karborctl provider list --help)`},
		"provider list --timeout soon":                         {ExitUsage, "", `invalid argument "soon" for "--timeout" flag: want a time such as 10s, 1m30s or 90 (see karborctl provider list --help)`},
		"provider list --nosuch":                               {ExitUsage, "", "unknown flag: --nosuch (see karborctl provider list --help)"},
		"rpc call":                                             {ExitUsage, "", "METHOD is missing (see karborctl rpc call --help)"},
		"rpc call x password":                                  {ExitUsage, "", `argument "password": want KEY=VALUE or KEY:=JSON (see karborctl rpc call --help)`},
	} {
		want.err = "karborctl: " + want.err + "\n"
		got := c.run(t.Context(), strings.Fields(command)...)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
}

// TestCast waits until each request is with the worker.
func TestCast(t *testing.T) {
	t.Parallel()
	arrived := make(chan string, 1)
	c := newTool(t, rpc.Endpoint{Namespace: "n", Version: "1.0", Methods: map[string]rpc.Method{
		"note": {Handler: func(_ context.Context, r *rpc.Request) (any, error) {
			arrived <- string(r.Args["text"])
			return nil, nil
		}}}})
	for _, where := range [][]string{{"--fanout"}, {"--server", "host"}, nil} {
		if out := c.must(t, append([]string{"rpc", "cast", "note", "--namespace", "n", "--version", "1.0", "text=hi"}, where...)...); out != "" {
			t.Errorf("%v printed %q", where, out)
		}
		if got := <-arrived; got != `"hi"` {
			t.Errorf("%v sent %s", where, got)
		}
	}
}

// TestSilence has a worker that has gone and left its queue behind.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTool(t)
		c.broker.Declare("openstack/" + testTopic)
		got := c.run(t.Context(), "provider", "list")
		want := outcome{ExitNoAnswer, "", "karborctl: no answer to list_providers within 5m0s; is a worker running that listens on topic karborctl-test at memory? It may still do what was asked\n"}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
	})
}

// slowWorker makes checkpoints whose status is what status returns.
func slowWorker(status func() string) rpc.Endpoint {
	return rpc.Endpoint{Version: "1.1", Methods: map[string]rpc.Method{
		"list_providers": {Handler: func(context.Context, *rpc.Request) (any, error) { return []any{map[string]any{"id": "p"}}, nil }},
		"show_protectable_instance": {Handler: func(context.Context, *rpc.Request) (any, error) {
			return map[string]any{"id": "1"}, nil
		}},
		"protect": {Handler: func(context.Context, *rpc.Request) (any, error) { return "c1", nil }},
		"delete":  {Handler: func(context.Context, *rpc.Request) (any, error) { return nil, nil }},
		"show_checkpoint": {Handler: func(context.Context, *rpc.Request) (any, error) {
			s := status()
			if s == "" {
				return nil, fault.CheckpointNotFound("c1")
			}
			return map[string]any{"id": "c1", "status": s, "resource_graph": "[{}, []]"}, nil
		}},
	}}
}

// inTurn answers the statuses one after the other, the last one for ever. Calls
// come one at a time.
func inTurn(statuses ...string) func() string {
	return func() string {
		status := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		return status
	}
}

func TestWaitTellsEachChange(t *testing.T) {
	t.Parallel()
	c := newTool(t, slowWorker(inTurn("protecting", "protecting", "error")))
	got := c.run(t.Context(), "checkpoint", "create", "p", "--resource", "volume=1", "--wait", "-f", "value", "-c", "status")
	if got.code != ExitFailed || got.out != "error\n" {
		t.Errorf("%+v", got)
	}
	want := regexp.MustCompile(`^karborctl: checkpoint c1: protecting
karborctl: checkpoint c1: error
karborctl: checkpoint c1 ended as error; the worker's log tells why, look there for req-[0-9a-f-]{36}
$`)
	if !want.MatchString(got.err) {
		t.Errorf("the standard error is\n%s", got.err)
	}
}

func TestWaitForDeletion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last string
		code int
	}{
		"shown as deleted": {"deleted", ExitOK}, "index removed": {"", ExitOK}, "failed": {"error-deleting", ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newTool(t, slowWorker(inTurn("deleting", c.last))).run(t.Context(), "checkpoint", "delete", "p", "c1", "--wait")
			if got.code != c.code {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestInterruptedWait(t *testing.T) {
	t.Parallel()
	c := newTool(t, slowWorker(inTurn("protecting")))
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &lines{seen: func(text string) {
		if strings.Contains(text, ": protecting") {
			cancel()
		}
	}}
	got := c.runWith(ctx, stderr, "checkpoint", "create", "p", "--resource", "volume=1", "--wait")
	want := outcome{ExitInterrupted, "", "karborctl: checkpoint c1: protecting\n" +
		"karborctl: interrupted; checkpoint c1 is still protecting, the worker goes on. Look at it with: karborctl checkpoint show p c1\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Error(diff)
	}
}

func TestInterruptedCall(t *testing.T) {
	t.Parallel()
	started, over := make(chan struct{}), make(chan struct{})
	c := newTool(t, rpc.Endpoint{Version: "1.1", Methods: map[string]rpc.Method{"list_providers": {Handler: func(context.Context, *rpc.Request) (any, error) {
		close(started)
		<-over
		return nil, errors.New("too late")
	}}}})
	defer close(over)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if got := c.run(ctx, "provider", "list"); got.code != ExitInterrupted {
		t.Errorf("%+v", got)
	}
}

func TestHelpShowsNoSecret(t *testing.T) {
	t.Parallel()
	c := newTool(t)
	c.env["KARBOR_TRANSPORT_URL"] = "rabbit://u:hush@h/"
	for _, args := range [][]string{{}, {"--help"}, {"checkpoint"}, {"checkpoint", "create", "--help"}, {"help", "rpc", "call"}} {
		got := c.run(t.Context(), args...)
		if got.code != ExitOK || got.out == "" || strings.Contains(got.out+got.err, "hush") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	c := newTool(t)
	if out := c.must(t, "completion", "bash"); !strings.Contains(out, "karborctl") {
		t.Errorf("completion printed %.80s", out)
	}
	if out := c.must(t, "__complete", "protectable", "list", ""); !strings.HasPrefix(out, "database\nimage\n") {
		t.Errorf("types: %s", out)
	}
}

// TestNames has providers and checkpoints named by less than their ids.
func TestNames(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	create := func(args ...string) string {
		return strings.TrimSpace(c.must(t, append([]string{"checkpoint", "create", "--resource", "volume=1", "--wait", "-f", "value", "-c", "id"}, args...)...))
	}
	first := create("No-Op")
	second := create(testProvider[:8])
	for name, want := range map[string]string{first: first, first[:13]: first, second[:13]: second} {
		if got := strings.TrimSpace(c.must(t, "checkpoint", "show", "No", name, "-f", "value", "-c", "id")); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	c.must(t, "restore", "No-Op", "latest", "--wait")
	// Both may be of the same second, but only one is available now.
	c.must(t, "checkpoint", "reset", "No-Op", second[:13], "--state", "error")
	if got := strings.TrimSpace(c.must(t, "checkpoint", "show", "No-Op", "latest", "-f", "value", "-c", "id")); got != first {
		t.Errorf("latest is %s, want %s", got, first)
	}
	c.must(t, "checkpoint", "delete", "No-Op", second[:13], "--wait")
	if got := strings.TrimSpace(c.must(t, "checkpoint", "list", "No-Op", "-f", "value", "-c", "id")); got != first {
		t.Errorf("left: %s, want %s", got, first)
	}
	c.must(t, "checkpoint", "create", "No-Op", "--resource", "volume="+missing, "--no-check", "--wait")
}

func TestChoose(t *testing.T) {
	t.Parallel()
	candidates := []candidate{{"1a", "swift"}, {"1b", "swift-old"}, {"2c", ""}}
	for text, want := range map[string]string{"1a": "1a", "swift": "1a", "swift-": "1b", "2": "2c"} {
		if got, err := choose("provider", text, candidates); got != want || err != nil {
			t.Errorf("%s is %q, %v, want %s", text, got, err, want)
		}
	}
	_, err := choose("provider", "1", candidates)
	if !errors.As(err, new(usageError)) || !strings.HasSuffix(err.Error(), "1a swift, 1b swift-old") {
		t.Errorf("an ambiguous beginning: %v", err)
	}
	if _, err := choose("provider", "3", candidates); !errors.As(err, new(notFoundError)) {
		t.Errorf("nothing begins so: %v", err)
	}
}

func TestLoginFails(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	c.env = map[string]string{"OS_AUTH_URL": "http://127.0.0.1:1/v3", "OS_USERNAME": "u", "OS_PASSWORD": "hush", "OS_PROJECT_NAME": "p", "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default"}
	got := c.run(t.Context(), "provider", "list")
	if got.code != ExitCredentials || strings.Contains(got.err, "hush") || !strings.Contains(got.err, "http://127.0.0.1:1/v3") {
		t.Errorf("%+v", got)
	}
}

// What nothing would heed is refused before there is a checkpoint or a record.
func TestParametersOfNothing(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	id := strings.TrimSpace(c.must(t, "checkpoint", "create", "No-Op", "--resource", "volume=1", "--wait", "-f", "value", "-c", "id"))
	for command, want := range map[string]string{
		"checkpoint create No-Op --resource volume=1 --parameter volume:backup_mod=full": "parameters of OS::Cinder::Volume: unknown parameter backup_mod",
		"checkpoint create No-Op --resource volume=1 --parameter X::Y:a=b":               "parameters of X::Y: the provider does not protect this type",
		"restore No-Op " + id + " --parameter volume:name=x":                             "The restore property of restore parameters is invalid.",
		"verify No-Op " + id + " --parameter volume:name=x":                              "The verify schema of plugin must be provided.",
	} {
		if got := c.run(t.Context(), strings.Fields(command)...); got.code != ExitFailed || got.out != "" || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v", command, got)
		}
	}
	if left := strings.Fields(c.must(t, "checkpoint", "list", "No-Op", "-f", "value", "-c", "id")); len(left) != 1 {
		t.Errorf("checkpoints: %v", left)
	}
}
