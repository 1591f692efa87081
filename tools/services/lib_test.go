// SPDX-License-Identifier: Apache-2.0

// Package services_test shows that no script that starts services waits for anything without end.
package services_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhatHangsIsNamed has each way to wait meet something that never ends, or that fails.
func TestWhatHangsIsNamed(t *testing.T) {
	t.Parallel()
	const spoken = `echo last words >"$STATE/log/s.log"; `
	for name, tc := range map[string]struct{ seconds, script, want string }{
		"a step that hangs":            {"1", spoken + `step s sleep 1000`, `last words\n.*error: sleep 1000 did not end within 1 s, see .*/s\.log`},
		"a step that fails":            {"600", `step s sh -c 'echo last words; exit 3'`, `last words\n.*error: sh -c .* failed \(3\), see .*/s\.log`},
		"a question without an answer": {"1", spoken + `ask s sleep 1000`, `last words\n.*error: sleep did not end within 1 s, see .*/s\.log`},
		"a daemon that never answers":  {"1", spoken + `daemon s sleep 1000; trap 'stop s' EXIT; wait_until s false`, `last words\n.*error: the wait for s \(false\) did not end within 1 s, see .*/s\.log`},
		"a daemon that ends":           {"600", `daemon s sh -c 'echo last words'; wait_until s false`, `last words\n.*error: s ended, see .*/s\.log`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			command := exec.CommandContext(t.Context(), "bash", "-euc", `. ./lib.sh; make_state; `+tc.script)
			command.Env = append(os.Environ(), "KARBOR_TEST_STATE="+state, "KARBOR_TEST_STEP_TIMEOUT="+tc.seconds)
			said, err := command.CombinedOutput()
			if err == nil {
				t.Fatalf("the script succeeded and said:\n%s", said)
			}
			if !regexp.MustCompile(tc.want).Match(said) {
				t.Errorf("the script said:\n%swant: %s", said, tc.want)
			}
		})
	}
}

// mayHang matches a program that waits for somebody else where a command of the shell begins: not behind step, ask,
// engine or timeout, which bound it.
var mayHang = regexp.MustCompile(`(?:^|[;|&({!]|\bthen|\bdo)\s*(?:\w+=\S*\s+)*(?:\S*/)?` +
	`(curl|docker|apt-get|flock(?: \d+)?$|psql|mariadb|mariadb-install-db|initdb|[a-z-]+-manage|mkfs\S*|u?mount|epmd|python3|` +
	`debootstrap|debconf-set-selections|swift-ring-builder|rabbitmqctl|go build)\b`)

// TestEveryProgramHasItsTime reads the scripts, for a program that was added without a bound.
func TestEveryProgramHasItsTime(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"*.sh", "up", "down", "start", "stop", "status", "rabbitmqctl", "image"} {
		found, err := filepath.Glob("../[koprs]*/" + pattern) // kubernetes, openstack, rabbitmq, services
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("only %d scripts were found: %v", len(files), files)
	}
	text := regexp.MustCompile(`(?s)<<'?(\w+)'?\n.*?\n(\w+)\n`)
	words := regexp.MustCompile(`'[^']*'|=\([^)]*\)`) // strings and arrays
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		joined := strings.ReplaceAll(text.ReplaceAllString(string(script), "\n"), "\\\n", " ")
		for line := range strings.Lines(joined) {
			line = words.ReplaceAllString(strings.TrimSpace(line), "''")
			if strings.HasPrefix(line, "#") || strings.Contains(line, "--max-time") {
				continue
			}
			if found := mayHang.FindStringSubmatch(line); found != nil {
				t.Errorf("%s: %q may run for ever: %s", file, found[1], line)
			}
		}
	}
}
