// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The vectors are what oslo.config itself answered: tools/config-vectors.

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// lexReasons maps the errors of the lexer to those of iniparser.py.
var lexReasons = map[string]string{
	"no = or : found in the assignment": "assignment",
	"the key is empty":                  "key",
	"unexpected continuation line: the line is indented but continues no value": "continuation",
	"the section must end with ]":                           "bracket",
	"the section has no name":                               "name",
	"a section must be started before the first assignment": "no section",
}

func TestLexerVectors(t *testing.T) {
	t.Parallel()
	var vectors []struct {
		Text        string
		Assignments [][]string
		Error       string
		Line        int
	}
	readVectors(t, "lexer.json", &vectors)
	for _, v := range vectors {
		assigned, err := lex(v.Text)
		var bad *ParseError
		if errors.As(err, &bad) {
			if got := lexReasons[bad.Reason]; got != v.Error {
				t.Errorf("%q: error %q (%v), oslo.config: %q", v.Text, got, err, v.Error)
			}
			// oslo.config names the line that ends the assignment, not its own.
			if v.Error != "no section" && bad.Line != v.Line {
				t.Errorf("%q: error in line %d, oslo.config: %d", v.Text, bad.Line, v.Line)
			}
			continue
		}
		got := [][]string{}
		for _, a := range assigned {
			got = append(got, []string{a.section, a.key, a.value})
		}
		want := v.Assignments
		if v.Error != "" {
			t.Errorf("%q: no error, oslo.config: %s", v.Text, v.Error)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -oslo.config +got\n%s", v.Text, diff)
		}
	}
}

// expectation is a value as str of Python shows it.
type expectation struct {
	Value string
	None  bool
	Error bool
}

var kindByVector = map[string]Kind{
	"string": String, "int": Int, "float": Float, "bool": Bool, "list": List,
	"multi": MultiString, "dict": Dict, "host": HostAddress, "port": Port,
}

func TestTypeVectors(t *testing.T) {
	t.Parallel()
	var vectors []struct {
		Kind, Text string
		Min, Max   *int64
		Choices    []string
		expectation
	}
	readVectors(t, "types.json", &vectors)
	for _, v := range vectors {
		o := Option{Name: "o", Kind: kindByVector[v.Kind], Min: v.Min, Max: v.Max, Choices: v.Choices}
		value, err := o.parse(v.Text)
		got := expectation{Value: pythonText(value), None: value == nil}
		if err != nil {
			got = expectation{Error: true}
		}
		if diff := cmp.Diff(v.expectation, got); diff != "" {
			t.Errorf("%v %q: -oslo.config +got\n%s", o.Kind, v.Text, diff)
		}
	}
}

type vectorOption struct {
	Group, Name, Kind, Short string
	Default                  any
	CLI                      bool
	Min, Max                 *int64
	Deprecated               [][2]string
}

func (v vectorOption) option() Option {
	o := Option{
		Group: v.Group, Name: v.Name, Kind: kindByVector[v.Kind], Default: v.Default,
		CLI: v.CLI, Short: v.Short, Min: v.Min, Max: v.Max,
	}
	if number, ok := v.Default.(float64); ok && o.Kind != Float {
		o.Default = int(number)
	}
	for _, d := range v.Deprecated {
		o.Deprecated = append(o.Deprecated, Name{d[0], d[1]})
	}
	return o
}

type resolveVector struct {
	Name, Project, Prog string
	Files, Env          map[string]string
	Args                []string
	Refused             bool
	Result              map[string]expectation
}

// deviations are the cases in which we do not follow oslo.config, by case and
// option, with the value that we want. The package comment gives the reasons.
var deviations = map[string]map[string]expectation{
	"empty number":                 {"prov.count": {Value: "3"}},
	"environment multi":            {"prov.plugin": {Value: "['xy']"}},
	"command line before its file": {"state_path": {Value: "/cli"}, "url": {Value: "sqlite:////cli/karbor.sqlite"}},
}

func TestResolveVectors(t *testing.T) {
	t.Parallel()
	var vectors struct {
		Options []vectorOption
		Cases   []resolveVector
	}
	readVectors(t, "resolve.json", &vectors)
	var options []Option
	for _, v := range vectors.Options {
		options = append(options, v.option())
	}
	for _, v := range vectors.Cases {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			got, err := v.run(t, options)
			if (err != nil) != v.Refused {
				t.Fatalf("error %v, oslo.config refused: %v", err, v.Refused)
			}
			if v.Refused {
				return
			}
			want := v.Result
			for name, value := range deviations[v.Name] {
				want[name] = value
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-oslo.config +got\n%s", diff)
			}
		})
	}
}

// run resolves option by option, since oslo.config finds a wrong value only
// when it is asked for.
func (v resolveVector) run(t *testing.T, options []Option) (map[string]expectation, error) {
	root := t.TempDir()
	for name, text := range v.Files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, arg := range v.Args {
		args = append(args, strings.ReplaceAll(arg, "@", root))
	}
	src, err := ParseArgs(args, options)
	if err != nil {
		return nil, err
	}
	src.Project, src.Prog, src.Home, src.Root = v.Project, v.Prog, filepath.Join(root, "home"), root
	src.Env = func(name string) (string, bool) {
		value, ok := v.Env[name]
		return strings.ReplaceAll(value, "@", root), ok
	}
	r, err := open(&src, options)
	if err != nil {
		return nil, err
	}
	got := make(map[string]expectation)
	for _, name := range r.table.order {
		if !r.resolve(name) {
			got[name.String()] = expectation{Error: true}
			continue
		}
		value := r.done[name].value
		got[name.String()] = expectation{Value: pythonText(value), None: value == nil}
	}
	return got, nil
}

// TestVectorsAreCurrent runs the recorder against the installed oslo.config.
func TestVectorsAreCurrent(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import oslo_config").Run(); err != nil {
		t.Skip("no oslo.config for " + python)
	}
	dir := t.TempDir()
	script := filepath.Join("..", "..", "tools", "config-vectors", "vectors.py")
	if out, err := exec.Command(python, script, dir).CombinedOutput(); err != nil {
		t.Fatalf("vectors.py: %v\n%s", err, out)
	}
	for _, name := range []string{"lexer.json", "types.json", "resolve.json"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(got) {
			t.Errorf("testdata/%s is not what the installed oslo.config gives: run %s", name, script)
		}
	}
}
