// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// python is Debian's interpreter, which sees Debian's oslo.messaging.
const python = "/usr/bin/python3"

// pythonClient is a client in Python with karbor-api's exception classes.
type pythonClient struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

// pythonAnswer is what such a client got.
type pythonAnswer struct {
	Result  json.RawMessage `json:"result"`
	Class   string          `json:"class"`
	Module  string          `json:"module"`
	Known   bool            `json:"known"`
	Code    int             `json:"code"`
	Msg     string          `json:"msg"`
	Text    string          `json:"text"`
	Rebuilt string          `json:"rebuilt"`
}

func startPython(t *testing.T, exchange, topic string) *pythonClient {
	t.Helper()
	if err := exec.Command(python, "-c", "import oslo_messaging").Run(); err != nil {
		t.Skipf("%s has no oslo_messaging (package python3-oslo.messaging): %v", python, err)
	}
	cmd := exec.Command(python, filepath.Join("python", "client.py"), os.Getenv("RABBIT_URL"), exchange, topic)
	cmd.Env = append(os.Environ(), "PYTHONPATH=python", "PYTHONDONTWRITEBYTECODE=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("client: %v\n%s", err, stderr.String())
		}
	})
	return &pythonClient{in, bufio.NewScanner(out)}
}

func (c *pythonClient) call(t *testing.T, q request) pythonAnswer {
	t.Helper()
	if q.Args == nil {
		q.Args = map[string]any{}
	}
	if q.Context == nil {
		q.Context = caller
	}
	line, err := json.Marshal(map[string]any{"method": q.Method, "args": q.Args, "context": q.Context, "namespace": q.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	var answer pythonAnswer
	if !c.out.Scan() {
		t.Fatalf("the client has ended: %v", c.out.Err())
	}
	if err := json.Unmarshal(c.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// arrives checks that an error is one of karbor's for a Python client.
func (a pythonAnswer) arrives(t *testing.T, class string, code int) {
	t.Helper()
	if a.Class != class+"_Remote" || a.Module != "karbor.exception_Remote" || !a.Known || a.Code != code {
		t.Errorf("want %s (%d), got %+v", class, code, a)
	}
	// The original's clients show str() of it, to which oslo.messaging appends a
	// traceback: with none of these, users read the message alone.
	if strings.TrimRight(a.Text, "\n") != strings.TrimRight(a.Msg, "\n") {
		t.Errorf("text is %q, message is %q", a.Text, a.Msg)
	}
	if class != "KarborException" && a.Rebuilt != a.Msg {
		t.Errorf("the keywords give %q, the message is %q", a.Rebuilt, a.Msg)
	}
}

// TestErrorsOfMethods has every class of error that a method itself answers.
func TestErrorsOfMethods(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	c := startPython(t, d.exchange, d.topic)
	bank := objects{}
	for _, name := range []string{"protect", "protect_slow"} {
		s, err := load(name)
		if err != nil {
			t.Fatal(err)
		}
		bank.remember(s)
	}
	const available, protecting = "75019568-6138-4274-baaa-09d01c2c2743", "9b44f751-5a99-4609-8f42-5fea1ecda5c7"
	const test, missing = "f0000000-0000-4000-8000-00000000000f", "00000000-0000-4000-8000-000000000000"
	bank["/checkpoints/broken/index.json"] = "{"
	bank["/checkpoints/newer/index.json"] = strings.Replace(bank["/checkpoints/"+available+"/index.json"], `"0.9"`, `"9.0"`, 1)
	d.fillBank(t, bank, shift{day: recordedDay})
	stranger := map[string]any{"user_id": "u", "project_id": "22222222-2222-4222-8222-222222222222", "roles": []string{"member"}}
	about := func(provider, checkpoint string) map[string]any {
		return map[string]any{"provider_id": provider, "checkpoint_id": checkpoint}
	}
	reset := about(test, protecting)
	reset["state"] = "error"
	withoutPlugin := map[string]any{"id": "p", "provider_id": test, "resources": []any{map[string]any{"id": "i", "type": "OS::Glance::Image", "name": "n"}}}
	unavailable := map[string]any{"id": "r", "provider_id": test, "checkpoint_id": protecting}
	for _, row := range []struct {
		class string
		code  int
		call  request
	}{
		{"InvalidPlan", 400, request{Method: "protect", Args: map[string]any{"plan": nil}}},
		{"InvalidInput", 400, request{Method: "list_providers", Args: map[string]any{"limit": -1}}},
		{"InvalidParameterValue", 400, request{Method: "show_checkpoint", Args: about(noop, "a b")}},
		{"ProviderNotFound", 404, request{Method: "show_provider", Args: map[string]any{"provider_id": "é☃"}}},
		{"CheckpointNotFound", 404, request{Method: "show_checkpoint", Args: about(noop, missing)}},
		{"ProtectableTypeNotFound", 404, request{Method: "show_protectable_type", Args: map[string]any{"protectable_type": "x"}}},
		{"ProtectableResourceNotFound", 404, request{Method: "show_protectable_instance",
			Args: map[string]any{"protectable_type": "OS::Cinder::Volume", "protectable_id": "v"}}},
		{"ListProtectableResourceFailed", 500, request{Method: "list_protectable_instances", Args: map[string]any{"protectable_type": "OS::Cinder::Volume"}}},
		{"CheckpointNotFound", 404, request{Method: "show_checkpoint", Args: about(noop, available), Context: stranger}},
		{"InvalidInput", 400, request{Method: "delete", Args: about(noop, available), Context: stranger}},
		{"FlowError", 500, request{Method: "protect", Args: map[string]any{"plan": withoutPlugin}}},
		{"CheckpointNotAvailable", 500, request{Method: "verification", Args: map[string]any{"verification": unavailable}}},
		{"CheckpointNotBeDeleted", 500, request{Method: "delete", Args: about(test, protecting)}},
		{"CheckpointNotBeReset", 500, request{Method: "reset_state", Args: reset}},
		{"BankGetObjectFailed", 500, request{Method: "show_checkpoint", Args: about(noop, "broken")}},
		{"KarborException", 500, request{Method: "show_checkpoint", Args: about(noop, "newer")}},
		{"RestoreNotFound", 404, request{Method: "show_restore", Namespace: manager.RecordNamespace, Args: map[string]any{"restore_id": missing}}},
		{"VerificationNotFound", 404, request{Method: "show_verification", Namespace: manager.RecordNamespace, Args: map[string]any{"verification_id": missing}}},
	} {
		t.Run(row.class, func(t *testing.T) { c.call(t, row.call).arrives(t, row.class, row.code) })
	}
	if a := c.call(t, request{Method: "no_such_method"}); a.Class != "RemoteError" || !strings.Contains(a.Msg, "NoSuchMethod") {
		t.Errorf("an unknown method: %+v", a)
	}
	if a := c.call(t, request{Method: "list_protectable_types"}); a.Class != "" || len(a.Result) < 10 {
		t.Errorf("afterwards: %+v", a)
	}
}

// TestErrorsOfCatalogue sends an error of every class there is, by the server
// that the service uses.
func TestErrorsOfCatalogue(t *testing.T) {
	t.Parallel()
	url := os.Getenv("RABBIT_URL")
	if url == "" {
		t.Skip("RABBIT_URL names no RabbitMQ, such as rabbit://guest:guest@127.0.0.1:5672/")
	}
	catalogue := map[string]*fault.Error{}
	for _, e := range []*fault.Error{
		fault.KarborException("what it is"), fault.NotAuthorized(), fault.InvalidPlan("r"), fault.InvalidInput("r"), fault.InvalidParameterValue("r"),
		fault.ProviderNotFound("p"), fault.CheckpointNotFound("c"), fault.ProtectableTypeNotFound("t"), fault.ProtectableResourceNotFound("t", "i", "r"),
		fault.ProtectionPluginNotFound("t"), fault.RestoreNotFound("r"), fault.VerificationNotFound("v"), fault.ConfigNotFound("/p"),
		fault.AccessCheckpointNotAllowed("c"), fault.DeleteCheckpointNotAllowed("c"), fault.AuthorizationFailure("o"), fault.FlowError("f", "e"),
		fault.CheckpointNotAvailable("c"), fault.CheckpointNotBeDeleted("c"), fault.CheckpointNotBeReset("c"),
		fault.ListProtectableResourceFailed("t", "r"), fault.ProtectableResourceInvalidStatus("t", "i", "s"),
		fault.BankUpdateObjectFailed("k", "r"), fault.BankDeleteObjectFailed("k", "r"), fault.BankGetObjectFailed("k", "r"), fault.BankListObjectsFailed("r"),
		fault.BankReadonlyViolation(), fault.AcquireLeaseFailed("r"), fault.CreateContainerFailed("r"),
		fault.CreateResourceFailed("n", "r", "i", "t"), fault.DeleteResourceFailed("n", "r", "i", "t"), fault.RestoreResourceFailed("n", "r", "i", "t"),
		fault.VerifyResourceFailed("n", "r", "i", "t"), fault.GetProtectionNetworkSubResourceFailed("t", "r"),
	} {
		catalogue[e.Class()] = e
	}
	topic := "golden-errors-" + uuid.NewString()[:8]
	w := dial(t, url, topic+"-exchange", topic)
	u, err := rpc.ParseTransportURL(url)
	if err != nil {
		t.Fatal(err)
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	transport, err := rabbit.New(u, rabbit.DefaultOptions(), silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close(context.Background()) })
	raise := func(_ context.Context, req *rpc.Request) (any, error) {
		var class string
		_ = json.Unmarshal(req.Args["of"], &class)
		if class == "panic" {
			panic("at the disco")
		}
		if e, ok := catalogue[class]; ok {
			return nil, e
		}
		return nil, errors.New("an error of no class")
	}
	server, err := rpc.NewServer(transport, rpc.Target{Exchange: w.exchange, Topic: topic, Server: host},
		[]rpc.Endpoint{{Version: manager.Version, Methods: map[string]rpc.Method{"raise": {Handler: raise}}}},
		rpc.ServerOptions{Failure: manager.Failure, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c := startPython(t, w.exchange, topic)
	for class, e := range catalogue {
		a := c.call(t, request{Method: "raise", Args: map[string]any{"of": class}})
		a.arrives(t, class, e.Code())
		if a.Msg != e.Message() {
			t.Errorf("%s: message is %q, want %q", class, a.Msg, e.Message())
		}
	}
	for _, what := range []string{"panic", "nothing"} {
		c.call(t, request{Method: "raise", Args: map[string]any{"of": what}}).arrives(t, "KarborException", 500)
	}
}
