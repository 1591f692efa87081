// SPDX-License-Identifier: Apache-2.0

package providers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// schemaPlugin serves types with schemas that name it.
type schemaPlugin struct {
	name  string
	types []string
}

func (p schemaPlugin) Types() []string { return p.types }
func (p schemaPlugin) Schemas(resourceType string) protection.Schemas {
	text := func(kind string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"title": "%s %s", "properties": {}}`, p.name, kind))
	}
	return protection.Schemas{Options: text("options"), Restore: text("restore"), SavedInfo: text("saved")}
}
func (schemaPlugin) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return nil, nil
}

// load loads a folder of files, by name, and returns what was logged.
func load(t *testing.T, files map[string]string) (*providers.Registry, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		text = strings.ReplaceAll(text, "BANK", "bank = karbor-fs-bank-plugin\n[file_system_bank_plugin]\nfile_system_bank_path = "+dir+"/bank")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	banks := &providers.BankRegistry{}
	banks.Register([]string{"karbor-fs-bank-plugin", "path.to.FileSystemBankPlugin"}, filesystem.Options, filesystem.FromConfig)
	plugins := protection.NewRegistry()
	for _, p := range []schemaPlugin{
		{"volume", []string{resource.Volume}}, {"snapshot", []string{resource.Volume}}, {"both", []string{resource.Server, resource.Volume}}} {
		plugins.Register([]string{p.name, "path.to." + p.name}, nil,
			func(*config.Config, protection.Deps) (protection.Plugin, error) { return p, nil })
	}
	plugins.Register([]string{"broken"}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) {
		return nil, fmt.Errorf("it wants an option")
	})
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	r, err := (&providers.Loader{Banks: banks, Plugins: plugins, Log: log}).Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, out.String()
}

func ids(all []*providers.Provider) []string {
	list := []string{}
	for _, p := range all {
		list = append(list, p.ID)
	}
	return list
}

func TestLoad(t *testing.T) {
	t.Parallel()
	good := "[provider]\nname = Good\ndescription = d\nid = %s\nenabled = True\nplugin = volume\nBANK\n"
	for _, c := range []struct {
		name string
		file string
		want []string
		log  string
	}{
		{"good", fmt.Sprintf(good, "x"), []string{"a", "x"}, ""},
		{"class paths", "[provider]\nid = x\nenabled = 1\nplugin = path.to.volume\nbank = path.to.FileSystemBankPlugin\n[file_system_bank_plugin]\nfile_system_bank_path = /tmp", []string{"a", "x"}, ""},
		{"no plugins", "[provider]\nid = x\nenabled = yes\nBANK", []string{"a", "x"}, ""},
		{"duplicate", fmt.Sprintf(good, "a"), []string{"a"}, "provider id a is also that of"},
		{"not enabled", "[provider]\nname = Off\nid = x\nBANK", []string{"a"}, "provider Off is not enabled"},
		{"no ini file", "[provider\nid = x", []string{"a"}, "z.conf:1"},
		{"bad boolean", "[provider]\nid = x\nenabled = perhaps\nBANK", []string{"a"}, "z.conf:3"},
		{"unknown bank", "[provider]\nid = x\nenabled = True\nbank = nope", []string{"a"}, `bank plugin \"nope\" is not known`},
		{"no bank", "[provider]\nid = x\nenabled = True", []string{"a"}, "a provider needs a bank"},
		{"unknown plugin", "[provider]\nid = x\nenabled = True\nplugin = nope\nBANK", []string{"a"}, `protection plugin \"nope\" is not known`},
		{"empty plugin", "[provider]\nid = x\nenabled = True\nplugin =\nBANK", []string{"a"}, "name a plugin or remove the line"},
		{"plugin fails", "[provider]\nid = x\nenabled = True\nplugin = broken\nBANK", []string{"a"}, "make plugin broken: it wants an option"},
		{"no choice", "[provider]\nid = x\nenabled = True\non_unfit = skip\nBANK", []string{"a"}, `want fail or leave_out, or TYPE=fail or TYPE=leave_out, got \"skip\"`},
		{"choice for what has no status", "[provider]\nid = x\nenabled = True\non_unfit = OS::Neutron::Network=leave_out\nBANK", []string{"a"}, "OS::Neutron::Network\\\" is none of the types OS::Trove::Instance"},
		{"bank fails", "[provider]\nid = x\nenabled = True\nbank = karbor-fs-bank-plugin", []string{"a"}, "file_system_bank_path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, log := load(t, map[string]string{"a.conf": fmt.Sprintf(good, "a"), "z.conf": c.file, "ignored.txt": "[", "README": "x"})
			if diff := cmp.Diff(c.want, ids(r.All())); diff != "" {
				t.Errorf("providers (-want +got):\n%s", diff)
			}
			if !strings.Contains(log, c.log) {
				t.Errorf("the log does not say %q:\n%s", c.log, log)
			}
		})
	}
}

// For a type that two plugins serve the later line counts; the type keeps its
// place in the schema.
func TestLaterPluginCounts(t *testing.T) {
	t.Parallel()
	r, _ := load(t, map[string]string{"a.conf": "[provider]\nid = a\nenabled = on\nplugin = volume\nplugin = both\nplugin = snapshot\nBANK"})
	p, err := r.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"options_schema":{"OS::Cinder::Volume":{"title": "snapshot options", "properties": {}},"OS::Nova::Server":{"title": "both options", "properties": {}}},` +
		`"restore_schema":{"OS::Cinder::Volume":{"title": "snapshot restore", "properties": {}},"OS::Nova::Server":{"title": "both restore", "properties": {}}},` +
		`"saved_info_schema":{"OS::Cinder::Volume":{"title": "snapshot saved", "properties": {}},"OS::Nova::Server":{"title": "both saved", "properties": {}}}}`
	if diff := cmp.Diff(want, string(p.View().ExtendedInfoSchema)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := p.Plugin(resource.Share); !fault.Is(err, "ProtectionPluginNotFound") {
		t.Errorf("error %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i, id := range []string{"c", "a", "b"} {
		files[id+".conf"] = fmt.Sprintf("[provider]\nid = %s\nname = n%d\nenabled = true\nBANK", id, i%2)
	}
	r, _ := load(t, files)
	for _, c := range []struct {
		name string
		o    providers.ListOptions
		want []string
	}{
		{"all", providers.ListOptions{}, []string{"a", "b", "c"}},
		{"limit", providers.ListOptions{Limit: 2}, []string{"a", "b"}},
		{"marker", providers.ListOptions{Marker: "a"}, []string{"b", "c"}},
		{"unknown marker", providers.ListOptions{Marker: "aa"}, []string{"a", "b", "c"}},
		{"filter", providers.ListOptions{Filters: map[string]json.RawMessage{"name": json.RawMessage(`"n0"`)}}, []string{"b", "c"}},
		{"limit after filter", providers.ListOptions{Limit: 1, Filters: map[string]json.RawMessage{"id": json.RawMessage(`"c"`)}}, []string{"c"}},
		{"unknown filter", providers.ListOptions{Filters: map[string]json.RawMessage{"x": json.RawMessage(`1`)}}, []string{"a", "b", "c"}},
		{"filter of another type", providers.ListOptions{Filters: map[string]json.RawMessage{"name": json.RawMessage(`1`)}}, []string{}},
	} {
		if diff := cmp.Diff(c.want, ids(r.List(c.o))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestFindDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := providers.FindDir(dir); err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
	missing := filepath.Join(dir, "none")
	_, err := providers.FindDir(missing)
	if !fault.Is(err, "ConfigNotFound") || err.Error() != "Could not find config at "+missing {
		t.Errorf("error %v", err)
	}
}

// What guards the worker guards the banks of all providers, and what they are is kept by
// the provider's id.
func TestBanksAreGuarded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "[provider]\nname = p\nid = p1\nenabled = true\nplugin = volume\nbank = fs\n[file_system_bank_plugin]\nfile_system_bank_path = " + dir + "/bank\n"
	if err := os.WriteFile(filepath.Join(dir, "p.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	banks, plugins := &providers.BankRegistry{}, protection.NewRegistry()
	banks.Register([]string{"fs"}, filesystem.Options, filesystem.FromConfig)
	plugins.Register([]string{"volume"}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) {
		return schemaPlugin{"volume", []string{resource.Volume}}, nil
	})
	log := logrus.New()
	log.SetOutput(io.Discard)
	over := errors.New("the tenure is over")
	var guard error
	memory := filepath.Join(dir, "memory")
	r, err := (&providers.Loader{Banks: banks, Plugins: plugins, Log: log, Memory: memory, Guard: func() error { return guard }}).Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Get("p1")
	if err != nil {
		t.Fatal(err)
	}
	for _, guard = range []error{over, nil} {
		if _, err := p.Checkpoints.Create(t.Context(), checkpoint.CreateOptions{Plan: checkpoint.Plan{ID: "plan", ProviderID: "p1", ProjectID: "project"}}); !errors.Is(err, guard) {
			t.Errorf("create gives %v, want %v", err, guard)
		}
	}
	if text, err := os.ReadFile(filepath.Join(memory, "p1")); err != nil || !strings.HasSuffix(string(text), dir+"/bank/karbor\n") {
		t.Errorf("remembered: %q, %v", text, err)
	}
}

// Checkpoints are signed by the keys of a file; a provider whose keys cannot be used, or
// are in a file that others can read, is left out.
func TestCheckpointSigning(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("k1 "+strings.Repeat("a1", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(open, []byte("k1 "+strings.Repeat("a1", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil { //nolint:gosec // what is refused
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ section, want string }{
		"none":         {"", ""},
		"keys":         {"key_file = " + keys, ""},
		"required":     {"key_file = " + keys + "\nrequire = true", ""},
		"without keys": {"require = true", "needs a key_file"},
		"missing":      {"key_file = " + keys + ".not", "no such file"},
		"for others":   {"key_file = " + open, "has mode 0644"},
	} {
		r, log := load(t, map[string]string{"a.conf": "[provider]\nname = a\nid = a\nenabled = true\nplugin = volume\nBANK\n[checkpoint_signing]\n" + c.section})
		p, err := r.Get("a")
		if (err == nil) != (c.want == "") || !strings.Contains(log, c.want) || strings.Contains(log, "a1a1") {
			t.Errorf("%s: %v\n%s", name, err, log)
		}
		if err != nil {
			continue
		}
		cp, err := p.Checkpoints.Create(t.Context(), checkpoint.CreateOptions{ID: "cp", Plan: checkpoint.Plan{ID: "plan", ProviderID: "a", ProjectID: "project"}})
		if err != nil || cp.ID() != "cp" {
			t.Fatal(err)
		}
	}
}

func TestOnUnfit(t *testing.T) {
	t.Parallel()
	file := "[provider]\nid = x\nenabled = True\non_unfit = %s\nBANK"
	for text, want := range map[string][]bool{
		"":                                 {false, false},
		"fail":                             {false, false},
		"leave_out":                        {true, true},
		"OS::Nova::Server=leave_out":       {true, false},
		"leave_out, OS::Nova::Server=fail": {false, true},
		"OS::Nova::Server=leave_out, OS::Cinder::Volume=leave_out": {true, true},
	} {
		r, log := load(t, map[string]string{"x.conf": fmt.Sprintf(file, text)})
		p, err := r.Get("x")
		if err != nil {
			t.Fatal(err, log)
		}
		if got := []bool{p.LeavesOut(resource.Server), p.LeavesOut(resource.Volume)}; !cmp.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// What the original does not have is in the full view alone, and is taken in requests.
func TestFullView(t *testing.T) {
	t.Parallel()
	plugin := addedPlugin{schemaPlugin{"volume", []string{resource.Volume, resource.Network}}}
	p, err := providers.New(providers.Definition{ID: "x", Plugins: []protection.Plugin{plugin}, Bank: bank.New(banktest.NewMemory(), nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	full := string(p.FullView().ExtendedInfoSchema)
	if view := string(p.View().ExtendedInfoSchema); strings.Contains(view, "restore_zone") || strings.Contains(view, "on_unfit") {
		t.Errorf("the original's clients are shown %s", view)
	}
	if n := strings.Count(full, `"restore_zone"`); n != 2 || strings.Count(full, `"on_unfit"`) != 1 { // a network has no status
		t.Errorf("shown %s", full)
	}
	if schema, _ := p.Schema(protection.Restore, resource.Volume); !strings.Contains(string(schema), `"restore_zone"`) {
		t.Errorf("known are %s", schema)
	}
}

type addedPlugin struct{ schemaPlugin }

func (p addedPlugin) Schemas(resourceType string) protection.Schemas {
	s := p.schemaPlugin.Schemas(resourceType)
	s.Added = map[string]protection.Property{"restore_zone": {Type: "string", Title: "Zone", Description: "The zone."}}
	return s
}
