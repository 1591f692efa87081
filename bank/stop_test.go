// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/filesystem"
)

const sleeperVariable = "KARBOR_TEST_BANK_SLEEPER"

// fileLeases is a store of leases that processes share: a file for each owner,
// with the time of its end in it.
type fileLeases struct{ dir string }

// closed is the file that keeps owners from taking leases.
func (s fileLeases) closed() string { return filepath.Join(s.dir, "closed") }

func (s fileLeases) Acquire(_ context.Context, owner string, window time.Duration) error {
	if _, err := os.Stat(s.closed()); err == nil {
		return errors.New("503 Service Unavailable")
	}
	temp := filepath.Join(s.dir, "new-"+owner)
	end := time.Now().Add(window).Format(time.RFC3339Nano)
	if err := os.WriteFile(temp, []byte(end), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(s.dir, owner))
}

func (s fileLeases) Renew(ctx context.Context, owner string, window time.Duration) error {
	held, err := s.Held(ctx, owner)
	if err == nil && !held {
		err = bank.ErrNotFound
	}
	if err != nil {
		return err
	}
	return s.Acquire(ctx, owner, window)
}

func (s fileLeases) Held(_ context.Context, owner string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, owner))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	end, err := time.Parse(time.RFC3339Nano, string(text))
	return time.Now().Before(end), err
}

func (s fileLeases) Release(_ context.Context, owner string) error {
	return os.Remove(filepath.Join(s.dir, owner))
}

// openShared is the bank of dir, and the lease of this process.
func openShared(dir string) (*bank.Bank, *bank.Lease, error) {
	p, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	if err != nil {
		return nil, nil, err
	}
	windows := bank.LeaseWindows{Expire: 2 * time.Second, Renew: 400 * time.Millisecond, Validity: 500 * time.Millisecond}
	lease := bank.NewLease(fileLeases{filepath.Join(dir, "leases")}, p.OwnerID(), windows, bank.Clock{}, nil)
	return bank.New(p, lease), lease, nil
}

// steps is a body whose parts come when somebody says so.
type steps struct {
	*bytes.Reader
	next *bufio.Reader
}

func (s *steps) Read(p []byte) (int, error) {
	if s.Len() == 0 {
		return 0, io.EOF
	}
	fmt.Println("reading")
	if _, err := s.next.ReadString('\n'); err != nil {
		return 0, err
	}
	return s.Reader.Read(p[:min(len(p), s.Len(), 10)])
}

func (s *steps) open() (io.ReadCloser, error) {
	_, err := s.Seek(0, io.SeekStart)
	return io.NopCloser(s), err
}

// sleeper writes one object after the other and says what becomes of them. A
// line of its input is a part of a body.
func sleeper(dir string) {
	b, lease, err := openShared(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s, err := b.Section("/sleeper")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("owner", lease.Owner())
	in := bufio.NewReader(os.Stdin)
	for i := 0; ; i++ {
		body := &steps{Reader: bytes.NewReader(make([]byte, 30)), next: in}
		switch err := s.Put(context.Background(), fmt.Sprintf("object-%d", i), bank.Upload{Open: body.open, Size: 30}); {
		case err == nil:
			fmt.Println("wrote")
		case errors.Is(err, bank.ErrLeaseNotHeld):
			fmt.Println("refused")
			time.Sleep(time.Millisecond)
		default:
			fmt.Println(err) // the parent has gone, as a rule
			return
		}
	}
}

// objects are the files of the bank with their times.
func objects(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(dir, "karbor", "sleeper"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				found = append(found, path+" "+info.ModTime().String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A process that is stopped in the middle of an upload until its lease has long
// ended, and goes on, stores nothing until it has a lease again.
func TestStoppedOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	leases := fileLeases{filepath.Join(dir, "leases")}
	if err := os.Mkdir(leases.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sleeperVariable+"="+dir)
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
	defer func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	out := bufio.NewReader(stdout)
	// hear waits for what the sleeper says, and feeds its uploads meanwhile.
	hear := func(want string, times int) string {
		t.Helper()
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatalf("the sleeper ended before it said %q: %v", want, err)
			}
			if strings.HasPrefix(line, want) {
				if times--; times == 0 {
					return strings.TrimSpace(line)
				}
			}
			if line == "reading\n" {
				if _, err := io.WriteString(stdin, "\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	signal := func(s os.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}

	id := strings.TrimPrefix(hear("owner", 1), "owner ")
	hear("wrote", 3)
	hear("reading", 2) // the first part is there, the second is asked for
	signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if held, err := leases.Held(t.Context(), id); err != nil || time.Now().After(deadline) {
			t.Fatalf("held %t, %v", held, err)
		} else if !held {
			break
		}
	}
	// Another owner takes over, and for a while nobody else gets a lease.
	b, lease, err := openShared(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := b.Section("/taker")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutText(t.Context(), "k", lease.Owner()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leases.closed(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := objects(t, dir)

	signal(syscall.SIGCONT)
	if _, err := io.WriteString(stdin, "\n"); err != nil { // the second part
		t.Fatal(err)
	}
	hear("refused", 20)
	if after := objects(t, dir); !slices.Equal(before, after) {
		t.Errorf("the sleeper went on writing:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	if err := os.Remove(leases.closed()); err != nil {
		t.Fatal(err)
	}
	hear("wrote", 2)
	if after := objects(t, dir); len(after) < len(before)+2 {
		t.Errorf("with a lease again there are %d objects, before %d", len(after), len(before))
	}
}
