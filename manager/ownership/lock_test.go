// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
)

const childVariable = "KARBOR_TEST_OWNERSHIP_CHILD"

// child is another worker of this machine: it holds the lock of its id until it
// is killed, or its parent is gone.
func child(dir string) {
	k, err := ownership.New(ownership.Config{Journal: journaltest.NewMemory(nil), Locks: dir, Adopt: func(journal.Entry) {}})
	if err == nil {
		err = k.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(k.ID())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// spawn starts a child and returns the id of its run.
func spawn(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// The work of a process that was killed is taken over although its announcement
// holds for an hour; that of one that is stopped is not.
func TestLocalWorkers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "owners")
	memory := journaltest.NewMemory(nil)
	j := &shaky{Journal: memory}
	cmd, id := spawn(t, dir)
	if err := memory.Announce(t.Context(), journal.Owner{ID: id}, time.Hour); err != nil {
		t.Fatal(err)
	}
	entry := begin(t, memory, id, nil)
	w := newWorker(t, ownership.Config{Journal: j, Locks: dir, Scan: 10 * time.Millisecond})
	w.start(t)
	defer w.end(t)
	threeScans := func() {
		t.Helper()
		_, before := j.counts()
		eventually(t, "scans", func() bool { _, now := j.counts(); return now > before+3 })
		if got := w.take(); len(got) != 0 {
			t.Fatalf("adopted from the living: %+v", got)
		}
	}

	threeScans()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	threeScans()
	// The lock alone says that it lives, whatever the clock of the store says.
	if err := memory.Retire(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	threeScans()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "adoption from the dead", func() bool { return w.working(entry) })
	if got := w.take(); len(got) != 1 || got[0].Claim != (journal.Claim{Owner: w.ID(), Generation: 2}) {
		t.Errorf("adopted %+v", got)
	}
	if files, err := filepath.Glob(dir + "/*"); err != nil || len(files) != 1 || !strings.Contains(files[0], w.ID()) {
		t.Errorf("locks are %q, %v", files, err)
	}
}

func TestLockThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorker(t, ownership.Config{Journal: journaltest.NewMemory(nil), Locks: dir})
	if err := w.Start(t.Context()); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("start gives %v", err)
	}
	w.end(t)
}
