// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBrokenProviderFiles has wrong files beside right ones: each is reported
// once, and the others are served.
func TestBrokenProviderFiles(t *testing.T) {
	t.Parallel()
	good := providerConf(recorded[0], "karbor-fs-bank-plugin", t.TempDir())
	replace := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for name, row := range map[string]struct{ text, says string }{
		"not-ini":         {"this is no ini file\n", ":1: "},
		"unclosed":        {"[provider\nname = x\n", ":1: "},
		"binary":          {"\x00\xff\xfe\x01\n", ":1: "},
		"wrong-bool":      {replace("enabled = True", "enabled = perhaps"), ":5: "},
		"unknown-bank":    {replace("karbor-fs-bank-plugin", "no-such-bank"), "no-such-bank"},
		"unknown-plugin":  {replace("karbor-noop-protection-plugin", "no-such-plugin"), "no-such-plugin"},
		"no-bank":         {replace("bank = karbor-fs-bank-plugin\n", ""), "bank"},
		"no-path":         {replace("file_system_bank_path", "other_option"), "file_system_bank_path"},
		"empty":           {"", ""},
		"other-extension": {"broken", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := name + ".conf"
			if name == "other-extension" {
				file = name + ".bak"
			}
			d := startDaemon(t, daemonConfig{providers: map[string]string{file: row.text, "good.conf": good}})
			r := d.call(t, request{Method: "list_providers"})
			if ids, _ := listing(r.Result); len(ids) != 1 || ids[0] != noop {
				t.Errorf("providers are %v", ids)
			}
			var reports []string
			for _, line := range strings.Split(d.log(t), "\n") {
				if strings.Contains(line, "provider is left out") {
					reports = append(reports, line)
				}
			}
			switch {
			case row.says == "" && len(reports) > 0, row.says != "" && len(reports) != 1:
				t.Errorf("reports are %q", reports)
			case row.says == "":
			case !strings.Contains(reports[0], file) || !strings.Contains(reports[0], row.says):
				t.Errorf("the report names not %s and %q: %s", file, row.says, reports[0])
			}
		})
	}
}

// TestBrokenIndex has checkpoints whose index.json is of no use. They are left
// out of listings, and named by what is about them.
func TestBrokenIndex(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	s, err := load("protect")
	if err != nil {
		t.Fatal(err)
	}
	const sound = "75019568-6138-4274-baaa-09d01c2c2743"
	d.fillBank(t, s.BankAfter, shift{day: recordedDay})
	index := s.BankAfter["/checkpoints/"+sound+"/index.json"]
	for i, row := range []struct{ name, text, class, says string }{
		{"empty", "", "BankGetObjectFailed", "index.json"},
		{"not JSON", "{", "BankGetObjectFailed", "index.json"},
		{"a list", "[]", "BankGetObjectFailed", "index.json"},
		{"binary", "\x00\xff", "BankGetObjectFailed", "index.json"},
		{"status a number", strings.Replace(index, `"status": "available"`, `"status": 7`, 1), "BankGetObjectFailed", "status"},
		{"plan a list", strings.Replace(index, `"protection_plan": {`, `"protection_plan": [], "x": {`, 1), "BankGetObjectFailed", "protection_plan"},
		{"time a text", strings.Replace(index, `"timestamp": `, `"timestamp": "x", "y": `, 1), "BankGetObjectFailed", "timestamp"},
		{"another version", strings.Replace(index, `"0.9"`, `"9.0"`, 1), "KarborException", "version"},
		{"another id", strings.Replace(index, `"id": "`+sound, `"id": "86778063-f0c5-440a-a756-fa7fa07b11a8`, 1), "BankGetObjectFailed", "id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := fmt.Sprintf("bad00000-0000-4000-8000-%012d", i)
			d.putObject(t, "/checkpoints/"+id+"/index.json", strings.ReplaceAll(row.text, sound, id))
			for key := range s.BankAfter {
				if strings.HasPrefix(key, "/indices/") {
					d.putObject(t, strings.ReplaceAll(key, sound, id), id)
				}
			}
			if ids, _ := listing(d.call(t, request{Method: "list_checkpoints", Args: map[string]any{"provider_id": noop}}).Result); len(ids) != 1 || ids[0] != sound {
				t.Errorf("the listing has %v", ids)
			}
			if log := d.log(t); !strings.Contains(log, id) {
				t.Error("the log does not name the checkpoint that the listing left out")
			}
			record := map[string]any{"id": "bd51edfa-3f8b-4811-8359-4e71cb36a804", "provider_id": noop, "checkpoint_id": id}
			for method, args := range map[string]map[string]any{
				"show_checkpoint": {"provider_id": noop, "checkpoint_id": id},
				"reset_state":     {"provider_id": noop, "checkpoint_id": id, "state": "error"},
				"restore":         {"restore": record, "restore_auth": nil},
				"verification":    {"verification": record},
				"delete":          {"provider_id": noop, "checkpoint_id": id},
			} {
				f := d.call(t, request{Method: method, Args: args}).failure(t)
				if f == nil || f.Module != "karbor.exception" || f.Class != row.class || !strings.Contains(f.Message, row.says) {
					t.Errorf("%s: %+v", method, f)
				}
			}
		})
	}
	d.serves(t)
}

// failsToCreate checks the answer to a protect whose bank cannot be written.
func failsToCreate(t *testing.T, d *daemon, provider string) {
	t.Helper()
	plan := map[string]any{}
	for name, value := range usualPlan {
		plan[name] = value
	}
	plan["provider_id"] = provider
	f := d.call(t, request{Method: "protect", Args: map[string]any{"plan": plan}}).failure(t)
	if f == nil || f.Module != "karbor.exception" || f.Class != "FlowError" || f.Message != "Flow: protect, Error: Error creating checkpoint" {
		t.Errorf("protect: %+v", f)
	}
	d.serves(t)
}

// TestUnusableBank has a file where the bank's folder is to be, which nobody
// can write to, root neither.
func TestUnusableBank(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	d.write(t, "bank", "a file")
	failsToCreate(t, d, noop)
	for _, method := range []string{"show_checkpoint", "delete"} {
		f := d.call(t, request{Method: method, Args: map[string]any{"provider_id": noop, "checkpoint_id": "x"}}).failure(t)
		if f == nil || f.Module != "karbor.exception" {
			t.Errorf("%s: %+v", method, f)
		}
	}
	if r := d.call(t, request{Method: "list_checkpoints", Args: map[string]any{"provider_id": noop}}); r.Failure != nil && r.failure(t).Module != "karbor.exception" {
		t.Errorf("list_checkpoints: %+v", r.failure(t))
	}
	d.serves(t)
}

// TestFullBank has a bank on a file system without room. What was written of
// the checkpoint is gone afterwards, and with room again all works.
func TestFullBank(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, daemonConfig{})
	if err := os.MkdirAll(d.bankPath, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", d.bankPath, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.bankPath, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(d.bankPath, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o644) // as much as there is room for
	failsToCreate(t, d, noop)
	if ids, _ := listing(d.call(t, request{Method: "list_checkpoints", Args: map[string]any{"provider_id": noop}}).Result); len(ids) > 0 {
		t.Errorf("the listing has %v", ids)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if f := d.call(t, request{Method: "protect", Args: map[string]any{"plan": usualPlan}}).failure(t); f != nil {
		t.Errorf("with room again: %+v", f)
	}
	d.openRows(t).settle(t)
}

// TestUnreachableSwift has a bank behind a port that nobody listens on.
func TestUnreachableSwift(t *testing.T) {
	t.Parallel()
	p := recorded[0]
	text := providerConf(p, "karbor-swift-bank-plugin", t.TempDir()) + `
[swift_client]
swift_auth_url = http://127.0.0.1:9/v3
swift_auth_version = 3
swift_user = demo
swift_key = very-secret
swift_tenant_name = demo
swift_retry_attempts = 1
swift_retry_backoff = 1
`
	d := startDaemon(t, daemonConfig{providers: map[string]string{"swift.conf": text}})
	failsToCreate(t, d, noop)
	for method, args := range map[string]map[string]any{
		"list_checkpoints": {"provider_id": noop},
		"show_checkpoint":  {"provider_id": noop, "checkpoint_id": "75019568-6138-4274-baaa-09d01c2c2743"},
		"restore":          {"restore": usualRecord, "restore_auth": nil},
	} {
		f := d.call(t, request{Method: method, Args: args}).failure(t)
		if f == nil || f.Module != "karbor.exception" || !strings.HasPrefix(f.Class, "Bank") || !strings.Contains(f.Message, "in Bank Failed") {
			t.Errorf("%s: %+v", method, f)
		}
	}
	d.serves(t)
	if strings.Contains(d.log(t), "very-secret") {
		t.Error("the log has the password")
	}
}
