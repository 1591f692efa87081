// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// provided makes a configuration with a provider file, and returns the arguments that name
// it. STATE stands for a folder that can be written to.
func provided(t *testing.T, main, provider string) []string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "STATE", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if provider != "" {
		write("providers.d/p.conf", provider)
	}
	if err := os.MkdirAll(filepath.Join(dir, "providers.d"), 0o750); err != nil {
		t.Fatal(err)
	}
	return []string{"--check", "--config-file", write("karbor.conf", "[DEFAULT]\nstate_path = STATE\nprovider_config_dir = STATE/providers.d\n"+main)}
}

const goodProvider = `[provider]
name = Good
id = 3c4d5e6f-0000-4000-8000-000000000001
enabled = True
bank = karbor-fs-bank-plugin
plugin = karbor-image-protection-plugin
[file_system_bank_plugin]
file_system_bank_path = STATE/bank
`

// What an operator mistypes is told with its place, and with what is meant; what is right
// is told, too, and nothing is left behind.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, main, provider string
		code                 int
		want                 []string
	}{
		{"all well", "", goodProvider, checkOK, []string{
			"ok      configuration", "ok      state_path", "ok      journal key", "Good (3c4d5e6f-0000-4000-8000-000000000001) protects OS::Glance::Image"}},
		{"options of the other programs", "osapi_karbor_workers = 4\nmin_interval = 3600\n[oslo_policy]\npolicy_file = x\n[keystone_authtoken]\nmemcached_servers = x\n",
			goodProvider, checkOK, []string{"ok      configuration"}},
		{"an option that nobody knows", "no_such_option = 1\n", goodProvider, checkWarning, []string{
			"warning configuration", "karbor.conf:4: there is no option no_such_option in section [DEFAULT]"}},
		{"a mistyped option", "[databse]\nconnection = sqlite://\n", goodProvider, checkWarning, []string{
			"karbor.conf:5: there is no option connection in section [databse], do you mean connection in section [database]?"}},
		{"a wrong value", "report_interval = often\n", goodProvider, checkFailure, []string{"failure configuration", "karbor.conf:4", "report_interval"}},
		{"a mistyped option of a provider", "", strings.Replace(goodProvider, "file_system_bank_path", "file_system_bank_pth", 1), checkFailure, []string{
			"warning providers", "p.conf:8: there is no option file_system_bank_pth in section [file_system_bank_plugin], do you mean file_system_bank_path?",
			"failure providers", "file_system_bank_path is not set"}},
		{"a mistyped plugin", "", strings.Replace(goodProvider, "protection-plugin", "protection-plugn", 1), checkFailure, []string{
			`protection plugin "karbor-image-protection-plugn" is not known; there are `, "karbor-image-protection-plugin"}},
		{"a mistyped bank", "", strings.Replace(goodProvider, "fs-bank", "f-bank", 1), checkFailure, []string{
			`bank plugin "karbor-f-bank-plugin" is not known; there are karbor-swift-bank-plugin, karbor-fs-bank-plugin`}},
		{"an id that is no UUID", "", strings.Replace(goodProvider, "3c4d5e6f-0000-4000-8000-000000000001", "cloud", 1), checkWarning, []string{
			`provider id "cloud" is not a UUID`}},
		{"a bank that cannot be", "", strings.Replace(goodProvider, "STATE/bank", "/proc/nope", 1), checkFailure, []string{
			"failure providers", "/proc/nope", "cannot be written to"}},
		{"state that cannot be", "state_path = /proc/nope\n", goodProvider, checkFailure, []string{"failure state_path", "/proc"}},
		{"no provider", "", strings.Replace(goodProvider, "enabled = True", "enabled = False", 1), checkWarning, []string{"no provider is enabled"}},
		{"no folder of providers", "provider_config_dir = nowhere.d\n", "", checkFailure, []string{"/var/lib/karbor/etc/karbor/nowhere.d", "/etc/karbor/nowhere.d"}},
		{"a key that is none", "journal_key_file = STATE/karbor.conf\n", goodProvider, checkFailure, []string{"failure journal key", "karbor.conf"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := provided(t, c.main, c.provider)
			var out, errs bytes.Buffer
			if code := Main("1.0", args, Builtin(), &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the answer lacks %q:\n%s%s", want, out.String(), errs.String())
				}
			}
			nothingLeft(t, args)
		})
	}
}

// nothingLeft fails the test if a check has made something.
func nothingLeft(t *testing.T, args []string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(args[2]))
	if err != nil || len(left) != 2 {
		t.Errorf("the check leaves %v behind, error %v", left, err)
	}
}

// Online, what cannot be reached is a failure that names it. The rest is looked at all
// the same.
func TestCheckOnline(t *testing.T) {
	t.Parallel()
	args := append(provided(t, "transport_url = rabbit://127.0.0.1:1/\n", goodProvider), "--online", "--json")
	var out, errs bytes.Buffer
	if code := Main("1.0", args, Builtin(), &out, &errs); code != checkFailure {
		t.Errorf("exit code %d, want %d: %s", code, checkFailure, errs.String())
	}
	var lines []checked
	if err := json.Unmarshal(out.Bytes(), &lines); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	results := map[string]string{}
	for _, l := range lines {
		results[l.Check] += l.Result
	}
	for check, want := range map[string]string{"broker": "failure", "database": "ok", "banks": "ok", "services": "warning"} {
		if results[check] != want {
			t.Errorf("%s: %q, want %q:\n%s", check, results[check], want, out.String())
		}
	}
	nothingLeft(t, args)
}

// Flags of one task are refused beside another.
func TestTasks(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--check", "--repair"}, {"--online"}, {"--db-sync", "--dry-run"}, {"--repair", "--json"}} {
		if _, _, err := tasks(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	rest, given, err := tasks([]string{"--check", "--config-file", "x", "--online"})
	if err != nil || len(rest) != 2 || !given[checkFlag] || !given[onlineFlag] || given[jsonFlag] {
		t.Errorf("rest %q, given %v, error %v", rest, given, err)
	}
}

// A worker that could not go on with what others have under way is told of before it
// starts.
func TestCheckOperationsUnderWay(t *testing.T) {
	t.Parallel()
	args := provided(t, "transport_url = rabbit://127.0.0.1:1/\n", goodProvider)
	var out, errs bytes.Buffer
	if code := Main("1.0", append([]string{dbSync}, args[1:]...), Builtin(), &out, &errs); code != ExitOK {
		t.Fatalf("%s: %s", dbSync, errs.String())
	}
	cfg, err := loadConfig(args[1:])
	if err != nil {
		t.Fatal(err)
	}
	db, err := database.FromConfig(t.Context(), cfg, telemetry.OrDiscard(nil))
	if err != nil {
		t.Fatal(err)
	}
	kept := journal.Open(db, journal.Options{})
	check := func() string {
		out.Reset()
		Main("1.0", append(args, "--online"), Builtin(), &out, &errs)
		return out.String()
	}
	if got := check(); strings.Contains(got, "could") || !strings.Contains(got, "every table is there") {
		t.Errorf("nothing is under way:\n%s", got)
	}
	if _, _, err := kept.Begin(t.Context(), journal.Entry{ID: "op-1", Kind: "protect", Claim: journal.Claim{Owner: "other"}, Input: json.RawMessage(`{"version":1}`)}); err != nil {
		t.Fatal(err)
	}
	if got, want := check(), "journal.key: copy theirs"; !strings.Contains(got, want) {
		t.Errorf("without a key the answer lacks %q:\n%s", want, got)
	}
	if _, err := journal.NewSealer(cfg.String("DEFAULT", "journal_key_file")); err != nil {
		t.Fatal(err)
	}
	if got, want := check(), "protect op-1 could not be gone on with: "; !strings.Contains(got, want) {
		t.Errorf("with another key the answer lacks %q:\n%s", want, got)
	}
	if err := errors.Join(kept.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}
