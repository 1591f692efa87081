// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/resource"
)

func TestAliasesCoverEveryType(t *testing.T) {
	t.Parallel()
	for _, long := range resource.Types() {
		short := aliasOf(long)
		if got, err := typeOf(short); err != nil || got != long {
			t.Errorf("%s: alias %q gives %q, %v", long, short, got, err)
		}
		if !strings.Contains(aliasHelp, short+" ("+long+")") {
			t.Errorf("the help does not name %s (%s)", short, long)
		}
	}
}

func TestParseResource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]planResource{
		"server=1":                {Type: resource.Server, ID: "1", Name: "1"},
		"Volume=1:":               {Type: resource.Volume, ID: "1", Name: "1"},
		"OS::Glance::Image=1:a:b": {Type: resource.Image, ID: "1", Name: "a:b"},
		"Vendor::Thing=1:x=y":     {Type: "Vendor::Thing", ID: "1", Name: "x=y"},
	} {
		got, err := parseResource(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"server":   `resource "server": want TYPE=ID or TYPE=ID:NAME`,
		"server=":  `resource "server=": the id is missing`,
		"router=1": `unknown resource type "router"`,
	} {
		if _, err := parseResource(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestParseParameters(t *testing.T) {
	t.Parallel()
	got, err := parseParameters([]string{
		"volume:backup_mode=full", "OS::Cinder::Volume#7:name=a=b:c", "server:networks:=[1]", "volume:count=3", "volume:html=<a&b>",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := parameters{
		resource.Volume:        {"backup_mode": json.RawMessage(`"full"`), "count": json.RawMessage(`"3"`), "html": json.RawMessage(`"<a&b>"`)},
		resource.Volume + "#7": {"name": json.RawMessage(`"a=b:c"`)},
		resource.Server:        {"networks": json.RawMessage(`[1]`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"volume", "volume=1", "volume:=1", "OS::Cinder::Volume=1", ":name=1", "volume:a:=secret{", "router:a=1"} {
		_, err := parseParameters([]string{text})
		if err == nil {
			t.Errorf("%s: no error", text)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the value: %v", err)
		}
	}
}

func TestParseArguments(t *testing.T) {
	t.Parallel()
	got, err := parseArguments([]string{"limit=10", "name=x y", "all=true", "none=null", "plan={\"a\": [1]}", "odd=1 2", `digits:="10"`, "empty=", "big=12345678901234567890"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"limit": json.RawMessage("10"), "name": json.RawMessage(`"x y"`), "all": json.RawMessage("true"), "none": json.RawMessage("null"),
		"plan": json.RawMessage(`{"a": [1]}`), "odd": json.RawMessage(`"1 2"`), "digits": json.RawMessage(`"10"`), "empty": json.RawMessage(`""`),
		"big": json.RawMessage("12345678901234567890"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"limit", "=1", "a:=x", ":=1"} {
		if _, err := parseArguments([]string{text}); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// FuzzParse holds that whatever is accepted can be sent: it encodes as JSON.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"a=1", "a:={}", "volume:a=b", "OS::Nova::Server#1:a:=[1]", "server=1:x", "a=\xff", "=", "::=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func() (any, error){
			func() (any, error) { return parseArguments([]string{text}) },
			func() (any, error) { return parseParameters([]string{text}) },
			func() (any, error) { return parseResource(text) },
		} {
			value, err := parse()
			if err != nil {
				continue
			}
			if _, err := json.Marshal(value); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

func TestPlanFile(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const body = `{"plan": {"id": "5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a", "name": "nightly", "provider_id": "other", "status": "started",
		"resources": [{"type": "volume", "id": "1", "name": "one", "extra_info": "{}"}], "parameters": {"volume": {"a": "1", "b": "2"}}}}`
	flags := planFlags{file: write(body), resources: []string{"image=2"}, parameters: []string{"volume:a=3"}, name: "mine"}
	got, err := flags.read(nil, "provider")
	if err != nil {
		t.Fatal(err)
	}
	want := &plan{
		ID: "5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a", Name: "mine", ProviderID: "provider",
		Resources: []planResource{
			{Type: resource.Volume, ID: "1", Name: "one", ExtraInfo: json.RawMessage(`"{}"`)},
			{Type: resource.Image, ID: "2", Name: "2"},
		},
		Parameters: parameters{resource.Volume: {"a": json.RawMessage(`"3"`), "b": json.RawMessage(`"2"`)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	stdin := planFlags{file: "-"}
	if got, err = stdin.read(strings.NewReader(`{"resources": [{"type": "image", "id": "9"}]}`), "provider"); err != nil {
		t.Fatal(err)
	}
	if len(got.Resources) != 1 || got.Resources[0].Name != "9" || got.ID == "" || got.Name != defaultName {
		t.Errorf("the plan of the standard input is %+v", got)
	}
	yaml := planFlags{file: write(`# the web shop
id: 5dd57c17-1eb3-4f0e-b1a4-05e3a4bd6b0a
name: nightly
resources:
  - {type: volume, id: "1", name: one}
  - type: image
    id: 0f9e2d3c-6a57-4c1e-9b9e-3d4b5a697881
parameters:
  volume: {a: "3", force: true, count: 2}
`)}
	if got, err = yaml.read(nil, "provider"); err != nil {
		t.Fatal(err)
	}
	want.Name, want.Resources[0].ExtraInfo = "nightly", nil
	want.Resources[1] = planResource{Type: resource.Image, ID: "0f9e2d3c-6a57-4c1e-9b9e-3d4b5a697881", Name: "0f9e2d3c-6a57-4c1e-9b9e-3d4b5a697881"}
	want.Parameters = parameters{resource.Volume: {"a": json.RawMessage(`"3"`), "force": json.RawMessage("true"), "count": json.RawMessage("2")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"resources: []\nresources: [a]\n": "line 2: key \"resources\" already set", "resources:\n\t- a": "line 2", "- a": "cannot unmarshal array", "id: 5\n": "cannot unmarshal number", "a: .nan": "no form in JSON",
		"{": "unexpected end", `{"resources": [{"type": "image"}]}`: "resource 1 has no id",
		`{"resources": [{"type": "router", "id": "1"}]}`: "unknown resource type", `{"id": "x"}`: "is no UUID",
	} {
		bad := planFlags{file: write(text)}
		if _, err := bad.read(nil, "provider"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// A graph of any depth is shown in as many lines as it has resources, none of them
// mostly blanks.
func TestTreeOfADeepGraph(t *testing.T) {
	t.Parallel()
	const depth = 30_000
	var g resource.Graph
	for i := range depth {
		n := &resource.Node{Resource: resource.Resource{Type: resource.Volume, ID: strconv.Itoa(depth - i)}, Children: g.Roots}
		g.Roots = []*resource.Node{n}
	}
	text, err := resource.Pack(&g)
	if err != nil {
		t.Fatal(err)
	}
	lines := (&checkpointView{ResourceGraph: text}).tree()
	if len(lines) != depth || lines[1] != "  "+resource.Volume+" 2" || len(lines[depth-1]) > 100 {
		t.Errorf("%d lines, the last of %d bytes", len(lines), len(lines[depth-1]))
	}
}
