// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testOptions = []Option{
	{Name: "host", Default: "node-1", Kind: HostAddress, Sample: "karbor-1"},
	{Name: "state_path", Default: "/var/lib/karbor", CLI: true, Deprecated: []Name{{"", "pybasedir"}},
		Help: "Root of the state."},
	{Name: "debug", Kind: Bool, Default: false, CLI: true, Short: "d", Help: "Log more."},
	{Name: "log_file", CLI: true},
	{Group: "database", Name: "connection", Secret: true, Default: "sqlite:///$state_path/karbor.sqlite"},
	{Group: "database", Name: "copy", Default: "<$connection>"},
	{Group: "database", Name: "retries", Kind: Int, Default: 3, Min: Bound(0), Max: Bound(9)},
	{Group: "database", Name: "pause", Kind: Float, Default: 0.5, CLI: true},
	{Group: "database", Name: "port", Kind: Port},
	{Group: "database", Name: "mode", Choices: []string{"fast", "safe"}, Default: "safe"},
	{Group: "provider", Name: "plugin", Kind: MultiString, CLI: true},
	{Group: "provider", Name: "tags", Kind: List, Default: []string{"a", "b"}},
	{Group: "provider", Name: "labels", Kind: Dict, Default: map[string]string{"k": "v"}},
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, src Source) *Config {
	t.Helper()
	c, err := Load(src, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "karbor.conf", `[DEFAULT]
debug = yes
[database]
retries = 4
pause = 2
port = 3306
[provider]
plugin = x
plugin = y
`)
	c := mustLoad(t, Source{Files: []string{path}, Env: func(name string) (string, bool) {
		return "e,f", name == "OS_PROVIDER__TAGS"
	}, Overrides: map[Name][]string{{"", "host"}: {"h1", "h2"}}})
	got := map[string]any{
		"host": c.String("", "host"), "same": c.String("DEFAULT", "host"), "debug": c.Bool("", "debug"),
		"none": c.String("", "log_file"), "dash": c.String("", "log-file"),
		"retries": c.Int("database", "retries"), "retries64": c.Int64("Database", "retries"),
		"pause": c.Float("database", "pause"), "port": c.Int("database", "port"),
		"plugin": c.MultiString("provider", "plugin"), "tags": c.List("provider", "tags"),
		"labels": c.Dict("provider", "labels"),
		"set":    c.IsSet("", "debug"), "unset": c.IsSet("", "state_path"),
	}
	want := map[string]any{
		"host": "h2", "same": "h2", "debug": true, "none": "", "dash": "",
		"retries": 4, "retries64": int64(4), "pause": 2.0, "port": 3306,
		"plugin": []string{"x", "y"}, "tags": []string{"e", "f"},
		"labels": map[string]string{"k": "v"}, "set": true, "unset": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	where := map[string]string{
		"host": c.Where("", "host"), "retries": c.Where("database", "retries"),
		"plugin": c.Where("provider", "plugin"), "tags": c.Where("provider", "tags"),
		"labels": c.Where("provider", "labels"),
	}
	wantWhere := map[string]string{
		"host": "command line", "retries": path + ":4", "plugin": path + ":9",
		"tags": "environment OS_PROVIDER__TAGS", "labels": "default",
	}
	if diff := cmp.Diff(wantWhere, where); diff != "" {
		t.Error(diff)
	}
}

func TestAccessorsCopy(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Source{})
	c.List("provider", "tags")[0] = "changed"
	c.Dict("provider", "labels")["k"] = "changed"
	if got := c.List("provider", "tags")[0] + c.Dict("provider", "labels")["k"]; got != "av" {
		t.Errorf("a caller changed the configuration: %s", got)
	}
}

func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Source{})
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			c.Dump()
			_ = c.List("provider", "tags")
			_ = c.String("database", "copy")
		})
	}
	readers.Wait()
}

func TestPanicsOnWrongName(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Source{})
	for want, call := range map[string]func(){
		"option database.zzz is not registered":                    func() { c.String("database", "zzz") },
		"option database.retries is of kind integer, not boolean":  func() { c.Bool("database", "retries") },
		"option provider.plugin is of kind multi valued, not list": func() { c.List("provider", "plugin") },
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			call()
		}()
	}
}

func TestWrongValuesAreReportedTogether(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "karbor.conf", `[DEFAULT]
host = 1.2.3
[database]
connection = mysql://u:hush$me@db/k
copy = $retries
retries = 10
pause = soon
mode = slow
[provider]
labels = http//me
labels = http://me:hush@x,y
`)
	_, err := Load(Source{Files: []string{path}, Overrides: map[Name][]string{{"database", "port"}: {"-1"}}}, testOptions)
	if err == nil {
		t.Fatal("no error")
	}
	want := strings.NewReplacer("FILE", path).Replace(`FILE:2: [DEFAULT] host = "1.2.3": want an IP address or a host name
FILE:4: [database] connection = ****: holds a reference that names no option; write $$ for a dollar sign
FILE:6: [database] retries = "10": want an integer from 0 to 9
FILE:7: [database] pause = "soon": want a number
command line: [database] port = "-1": want an integer from 0 to 65535
FILE:8: [database] mode = "slow": want one of fast, safe
FILE:11: [provider] labels = "http://****@x,y": want name:value pairs separated by commas`)
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	var value *ValueError
	if !errors.As(err, &value) || value.Option != "host" {
		t.Errorf("no *ValueError in %v", err)
	}
}

func TestEveryUnreadableFileIsReported(t *testing.T) {
	t.Parallel()
	broken := writeFile(t, "a.conf", "[DEFAULT]\n\npassword hush\n")
	latin := writeFile(t, "b.conf", "[DEFAULT]\nhost = h\xf6st\n")
	missing := filepath.Join(t.TempDir(), "none.conf")
	_, err := Load(Source{Files: []string{broken, missing, latin}}, testOptions)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		broken + ":3: no = or : found in the assignment",
		missing + ": no such file",
		latin + ":2: the text is not UTF-8",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("error shows a line that may be secret: %v", err)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

func TestWarningsOnFormerNames(t *testing.T) {
	t.Parallel()
	first := writeFile(t, "a.conf", "[DEFAULT]\npybasedir = /a\npybasedir = /b\n")
	var heard []string
	c := mustLoad(t, Source{
		Files: []string{first, writeFile(t, "b.conf", "[DEFAULT]\npybasedir = /c\n")},
		Warn:  func(w string) { heard = append(heard, w) },
	})
	want := []string{`option "pybasedir" from group "DEFAULT" is deprecated, use option "state_path" from group "DEFAULT"`}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, c.Warnings()); diff != "" {
		t.Error(diff)
	}
}

func TestDumpMasksSecrets(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Source{Overrides: map[Name][]string{
		{"database", "connection"}: {"mysql://u:hush@db/k"},
		{"", "log_file"}:           {"http://me:hush@host/x"},
		{"", "state_path"}:         {"/$database.copy"},
	}})
	got := c.Dump()
	want := []string{
		"host = node-1", "state_path = ****", "debug = false", "log_file = http://****@host/x",
		"database.connection = ****", "database.copy = ****", "database.retries = 3", "database.pause = 0.5",
		"database.port = <None>", "database.mode = safe", "provider.plugin = <None>", "provider.tags = a, b",
		"provider.labels = k:v",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadFileStandsAlone(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "provider.conf", "[provider]\nplugin = a\nname = p$id\nid = 7\n")
	options := []Option{{Group: "provider", Name: "name"}, {Group: "provider", Name: "id"}}
	c, err := LoadFile(path, options)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.String("provider", "name"); got != "p7" {
		t.Errorf("name = %q", got)
	}
	if _, err := LoadFile(path+".none", options); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a missing file", err)
	}
}

func TestTableErrors(t *testing.T) {
	t.Parallel()
	for want, options := range map[string][]Option{
		"x: declared twice in different ways":                  {{Name: "x"}, {Name: "x", Kind: Int}},
		"not a word":                                           {{Name: "a b"}},
		"the group cannot be written":                          {{Group: "a]", Name: "x"}},
		"the kind is unknown":                                  {{Name: "x", Kind: 99}},
		"more than one letter":                                 {{Name: "x", Short: "xy"}},
		"the bounds leave no value":                            {{Name: "x", Min: Bound(2), Max: Bound(1)}},
		`default: [DEFAULT] x = "no": want an integer`:         {{Name: "x", Kind: Int, Default: "no"}},
		`default: [DEFAULT] x = "5": want an integer of at`:    {{Name: "x", Kind: Int, Default: 5, Max: Bound(4)}},
		"a default of type bool does not fit the kind integer": {{Name: "x", Kind: Int, Default: true}},
		"a default of type []string does not fit":              {{Name: "x", Kind: Int, Default: []string{"1"}}},
		"a default of type uint8 is not supported":             {{Name: "x", Kind: Int, Default: uint8(1)}},
		"refers to itself":                                     {{Name: "x", Default: "$x"}},
	} {
		if _, err := Load(Source{}, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := Load(Source{}, []Option{{Name: "x"}, {Name: "x"}}); err != nil {
		t.Errorf("the same declaration twice: %v", err)
	}
}
