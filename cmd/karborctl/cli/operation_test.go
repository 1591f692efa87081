// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/cmd/karborctl/identity"
	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
)

// slow protects and copies only when it may; all else it does at once.
type slow struct {
	noop.Plugin
	may chan error
}

func (p slow) Operation(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
	if kind != protection.Protect && kind != protection.Copy {
		return &protection.Operation{}, nil
	}
	return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
		c.Report(40)
		select {
		case err := <-p.may:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}, nil
}

func slowTool(t *testing.T) (*tool, chan error) {
	t.Helper()
	may := make(chan error)
	setup := service.Builtin()
	setup.Plugins.Register([]string{"slow"}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) { return slow{may: may}, nil })
	return newTool(t, endpointsWith(t, setup, "slow")...), may
}

// protecting starts a protection and returns its checkpoint and operation.
func protecting(t *testing.T, c *tool) (checkpoint, operation string) {
	t.Helper()
	checkpoint = strings.TrimSpace(c.must(t, "checkpoint", "create", testProvider, "--resource", "volume=v1", "-f", "value", "-c", "id"))
	return checkpoint, strings.TrimSpace(c.must(t, "operation", "list", "--checkpoint", checkpoint, "-f", "value", "-c", "id"))
}

// once calls what a line of the standard error is the sign for.
func once(sign string, do func()) *lines {
	return &lines{seen: func(text string) {
		if do != nil && strings.Contains(text, sign) {
			go do()
			do = nil
		}
	}}
}

func TestOperationToItsEnd(t *testing.T) {
	t.Parallel()
	c, may := slowTool(t)
	checkpoint, id := protecting(t, c)
	for flags, want := range map[string]string{
		"": id, "--unfinished": id, "--type protect --provider " + testProvider: id, "--type restore": "", "--checkpoint " + missing: "",
		"--marker " + id: "", "--limit 1": id, "--project other": "", "--project other --admin --all-projects": id,
	} {
		args := append([]string{"operation", "list", "-f", "value", "-c", "id"}, strings.Fields(flags)...)
		if got := strings.TrimSpace(c.must(t, args...)); got != want {
			t.Errorf("list %s: %q, want %q", flags, got, want)
		}
	}
	stderr := once("on_main running 40%", func() { may <- nil })
	got := c.runWith(t.Context(), stderr, "operation", "watch", id)
	if got.code != ExitOK || !strings.Contains(got.err, "karborctl: operation "+id+": protect succeeded, 1/1 done, 100%, ") {
		t.Errorf("watch: %+v", got)
	}
	shown := c.must(t, "operation", "show", id)
	if shown != got.out {
		t.Errorf("watch printed\n%s\nand show\n%s", got.out, shown)
	}
	want := regexp.MustCompile(`(?s)^FIELD +VALUE\nid +` + id + `\ntype +protect\nstatus +succeeded\n.*\ncheckpoint_id +` + checkpoint + `\n.*` +
		`\n\nTYPE +ID +HOOK +STATE +PERCENT +HOOKS +STARTED_AT +ENDED_AT +ERROR\nOS::Cinder::Volume +v1 +on_main +finished +1/1 +20\S+Z +20\S+Z\n$`)
	if !want.MatchString(shown) {
		t.Errorf("show printed\n%s", shown)
	}
	if got := c.must(t, "operation", "show", id, "-f", "value", "-c", "status"); got != "succeeded\n" {
		t.Errorf("one field: %q", got)
	}
	var detail struct {
		Resources []map[string]any `json:"resources"`
	}
	if err := json.Unmarshal([]byte(c.must(t, "operation", "show", id, "-f", "json")), &detail); err != nil || len(detail.Resources) != 1 {
		t.Errorf("show -f json: %+v, %v", detail, err)
	}
	late := c.run(t.Context(), "operation", "cancel", id)
	if late.code != ExitFailed || !strings.Contains(late.err, "Operation "+id+" has ended already.") {
		t.Errorf("cancel after the end: %+v", late)
	}
}

func TestOperationFails(t *testing.T) {
	t.Parallel()
	c, may := slowTool(t)
	stderr := once("on_main running 40%", func() { may <- fault.KarborException("the disk is full") })
	got := c.runWith(t.Context(), stderr, "checkpoint", "create", testProvider, "--resource", "volume=v1", "--wait", "-f", "value", "-c", "status")
	if got.code != ExitFailed || got.out != "error\n" || !strings.Contains(got.err, "OS::Cinder::Volume v1 on_main failed: ") ||
		!regexp.MustCompile(`\nkarborctl: checkpoint \S+ ended as error: .*the disk is full.* \(request req-\S+\)\n$`).MatchString(got.err) {
		t.Errorf("%+v", got)
	}
	id := strings.TrimSpace(c.must(t, "operation", "list", "-f", "value", "-c", "id"))
	again := c.run(t.Context(), "operation", "watch", id)
	if again.code != ExitFailed || !strings.Contains(again.err, "operation "+id+" (protect) ended as failed: ") {
		t.Errorf("watch: %+v", again)
	}
}

func TestOperationCancelled(t *testing.T) {
	t.Parallel()
	c, _ := slowTool(t)
	_, first := protecting(t, c)
	if got := c.must(t, "operation", "cancel", first); got != "ID"+strings.Repeat(" ", 36)+"STATUS\n"+first+"  cancelling\n" {
		t.Errorf("cancel printed %q", got)
	}
	watched := c.run(t.Context(), "operation", "watch", first)
	if watched.code != ExitFailed || !strings.Contains(watched.err, " ended as cancelled: cancelled by user "+identity.Anonymous) {
		t.Errorf("watch of what is cancelled: %+v", watched)
	}
	_, second := protecting(t, c)
	got := c.run(t.Context(), "operation", "cancel", second, "--wait", "-f", "value", "-c", "status")
	if got.code != ExitOK || got.out != "cancelled\n" {
		t.Errorf("cancel --wait: %+v", got)
	}
}

func TestCopyWaits(t *testing.T) {
	t.Parallel()
	c, may := slowTool(t)
	const plan = "5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a"
	create := []string{"checkpoint", "create", testProvider, "--resource", "volume=v1", "--plan-id", plan, "--wait"}
	if got := c.runWith(t.Context(), once("on_main running 40%", func() { may <- nil }), create...); got.code != ExitOK {
		t.Fatalf("%+v", got)
	}
	for _, end := range []struct {
		err    error
		code   int
		status string
	}{{nil, ExitOK, "available"}, {fault.KarborException("no"), ExitFailed, "error"}} {
		stderr := once("on_main running 40%", func() { may <- end.err })
		got := c.runWith(t.Context(), stderr, "checkpoint", "copy", testProvider, "--plan-id", plan, "--resource", "volume=v1", "--wait", "-f", "value", "-c", "status")
		if got.code != end.code || got.out != end.status+"\n" || !strings.Contains(got.err, ": copy running, 0/1 done, ") {
			t.Errorf("%+v", got)
		}
	}
}

// Only administrators learn who the workers are.
func TestWorkerList(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	if got := c.must(t, "--admin", "worker", "list"); !strings.HasPrefix(got, "ID  HOST  STATE  SEEN_AT  OPERATIONS") {
		t.Errorf("%q", got)
	}
	if got := c.run(t.Context(), "worker", "list"); got.code == ExitOK || !strings.Contains(got.err, "NotAuthorized") {
		t.Errorf("without being an administrator: %+v", got)
	}
}

func TestOperationRefusals(t *testing.T) {
	t.Parallel()
	c := newTool(t, managerEndpoints(t)...)
	for command, want := range map[string]outcome{
		"operation show x":              {ExitFailed, "", "InvalidInput: Invalid input received: Operation x could not be found."},
		"operation watch x":             {ExitFailed, "", "InvalidInput: Invalid input received: Operation x could not be found."},
		"operation cancel x --wait":     {ExitFailed, "", "InvalidInput: Invalid input received: Operation x could not be found."},
		"operation watch":               {ExitUsage, "", "ID is missing (see karborctl operation watch --help)"},
		"operation list x":              {ExitUsage, "", `unexpected argument "x" (see karborctl operation list --help)`},
		"operation list --type backup":  {ExitUsage, "", `--type: want one of protect, restore, verify, delete, copy, got "backup" (see karborctl operation list --help)`},
		"operation list --limit -1":     {ExitUsage, "", "--limit: want a number that is not negative (see karborctl operation list --help)"},
		"operation list --all-projects": {ExitFailed, "", "only an administrator can list the operations of other projects (without credentials: --admin)"},
	} {
		want.err = "karborctl: " + want.err + "\n"
		if diff := cmp.Diff(want, c.run(t.Context(), strings.Fields(command)...), cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s: %s", command, diff)
		}
	}
	endpoint := slowWorker(inTurn("available"))
	endpoint.Version = "1.0"
	old := newTool(t, endpoint)
	got := old.run(t.Context(), "operation", "list")
	if got.code != ExitFailed || !strings.HasPrefix(got.err, "karborctl: the worker is too old to tell of operations, it serves no version 1.1 of the interface: UnsupportedVersion: ") {
		t.Errorf("an old worker: %+v", got)
	}
}

// scripted serves version 1.1 with what operations look like, one answer after
// the other, the last one for ever.
func scripted(status string, looks ...map[string]any) rpc.Endpoint {
	e := slowWorker(inTurn(status))
	e.Version = "1.1"
	e.Methods["list_operations"] = rpc.Method{Handler: func(context.Context, *rpc.Request) (any, error) { return looks[:1], nil }}
	e.Methods["show_operation"] = rpc.Method{Handler: func(context.Context, *rpc.Request) (any, error) {
		look := looks[0]
		if len(looks) > 1 {
			looks = looks[1:]
		}
		if look == nil {
			return nil, fault.InvalidInput("Operation o could not be found.")
		}
		return look, nil
	}}
	return e
}

func look(status string, resources ...map[string]any) map[string]any {
	o := map[string]any{"id": "o", "operation_type": "protect", "status": status, "created_at": noon, "started_at": nil, "ended_at": nil,
		"resources": slices.Concat([]map[string]any{}, resources)}
	if status == "failed" {
		o["ended_at"], o["reason"] = noon, "why"
	}
	return o
}

// TestTerminal has the notes of the tool above what is drawn.
func TestTerminal(t *testing.T) {
	t.Parallel()
	work := map[string]any{"resource_type": "T", "resource_id": "1", "hook": "on_main", "state": "running", "percent": 50, "started_at": noon}
	c := newTool(t, scripted("error", look("running", work), look("failed", work)))
	c.columns = 60
	got := c.run(t.Context(), "checkpoint", "create", "p", "--resource", "volume=1", "--wait", "-f", "value", "-c", "status")
	const summary = "karborctl: checkpoint c1: protect running, 0/1 done, 50%, 0s\n"
	want := regexp.MustCompile(regexp.QuoteMeta("  T 1 on_main [#####.....] 50% 0s\n"+summary[:58]+"…\n"+
		"\x1b[2A\r\x1b[J"+"karborctl: checkpoint c1: protect failed, 0/1 done, 50%, 0s\n"+
		"karborctl: checkpoint c1: error\n"+
		"karborctl: checkpoint c1 ended as error: why (request req-") + `[0-9a-f-]{36}\)\n`)
	if got.code != ExitFailed || !want.MatchString(got.err) {
		t.Errorf("code %d, %q", got.code, got.err)
	}
}

// TestWaitWithoutOperation asks for the status when the operation is unknown to
// the worker that answers: each may have a journal of its own.
func TestWaitWithoutOperation(t *testing.T) {
	t.Parallel()
	for name, looks := range map[string][]map[string]any{"later": {look("running"), nil}, "restart": {look("queued"), look("running"), nil}} {
		got := newTool(t, scripted("error", looks...)).run(t.Context(), "checkpoint", "create", "p", "--resource", "volume=1", "--wait")
		if got.code != ExitFailed || !strings.Contains(got.err, "checkpoint c1 ended as error; the worker's log tells why") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestWaitForNoOtherStatus ends with the operation, though the worker could not
// write the last status into the bank.
func TestWaitForNoOtherStatus(t *testing.T) {
	t.Parallel()
	got := newTool(t, scripted("protecting", look("failed"))).run(t.Context(), "checkpoint", "create", "p", "--resource", "volume=1", "--wait")
	if got.code != ExitFailed || !strings.Contains(got.err, "checkpoint c1 ended as protecting: why (request req-") {
		t.Errorf("%+v", got)
	}
}

func TestInterruptedWatch(t *testing.T) {
	t.Parallel()
	c := newTool(t, scripted("error", look("running")))
	ctx, cancel := context.WithCancel(t.Context())
	got := c.runWith(ctx, once("protect running", cancel), "operation", "watch", "o")
	want := outcome{ExitInterrupted, "", "karborctl: operation o: protect running, 0s\n" +
		"karborctl: interrupted; operation o has not ended, the worker goes on. Look at it with: karborctl operation watch o\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Error(diff)
	}
}
