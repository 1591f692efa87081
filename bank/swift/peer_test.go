// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
)

// What we write python-swiftclient reads, and the other way around.
func TestPythonPeer(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import swiftclient").Run(); err != nil {
		t.Skipf("needs %s with python3-swiftclient: %v", python, err)
	}
	section, err := bank.New(newStore(t, cfg), nil).Section("/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		section.PutJSON(t.Context(), "go/index.json", map[string]string{"ü": "<&>"}),
		section.PutText(t.Context(), "go/resource-data/r@1/status", "available"),
		section.PutBytes(t.Context(), "go/resource-data/r@1/data_1", []byte{0, 0xff, '\n'}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), python, "testdata/peer.py", cfg.AuthURL, cfg.Container)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string][2]string
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"/checkpoints/go/index.json":               {"True", `{"\u00fc": "<&>"}`},
		"/checkpoints/go/resource-data/r@1/status": {"False", "available"},
		"/checkpoints/go/resource-data/r@1/data_1": {"False", "\x00\u00ff\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read by Python (-want +got):\n%s", diff)
	}

	var value map[string][]any
	if err := section.GetJSON(t.Context(), "py/index.json", &value); err != nil || len(value["a"]) != 2 || value["a"][1] != "ü" {
		t.Errorf("JSON of Python is %v, %v", value, err)
	}
	for key, want := range map[string]string{"status": "available", "data_1": "ü"} {
		if text, err := section.GetText(t.Context(), "py/resource-data/r@1/"+key); text != want || err != nil {
			t.Errorf("%s of Python is %q, %v", key, text, err)
		}
	}
	keys, err := section.List(t.Context(), bank.ListOptions{Prefix: "py/"})
	if err != nil || len(keys) != 3 {
		t.Errorf("keys of Python: %q, %v", keys, err)
	}
}
