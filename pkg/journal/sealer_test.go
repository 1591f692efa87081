// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/journal"
)

func newSealer(t testing.TB, file string) *journal.Sealer {
	t.Helper()
	s, err := journal.NewSealer(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *journal.Sealer, plain, about string) string {
	t.Helper()
	sealed, err := s.Seal([]byte(plain), about)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSecretsComeBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "journal.key")
	s := newSealer(t, file)
	for _, plain := range []string{"", "secret", strings.Repeat("x", 1<<20)} {
		sealed := seal(t, s, plain, "op")
		if plain != "" && strings.Contains(sealed, plain) {
			t.Error("the secret shows")
		}
		got, err := newSealer(t, file).Open(sealed, "op") // as another worker does
		if err != nil || string(got) != plain {
			t.Errorf("%d bytes came back as %d (%v)", len(plain), len(got), err)
		}
	}
	if once, again := seal(t, s, "secret", "op"), seal(t, s, "secret", "op"); once == again {
		t.Error("the same twice")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key file is %v (%v)", info.Mode(), err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "journal.key")
	s := newSealer(t, file)
	sealed := seal(t, s, "secret", "op")
	other := newSealer(t, filepath.Join(t.TempDir(), "journal.key"))
	flipped := []byte(sealed)
	if at := len(flipped) - 5; flipped[at] == 'A' {
		flipped[at] = 'B'
	} else {
		flipped[at] = 'A'
	}
	tests := []struct {
		name, sealed, about string
		want                error
	}{
		{"another operation", sealed, "op2", journal.ErrKey},
		{"another key", seal(t, other, "secret", "op"), "op", journal.ErrKey},
		{"changed", string(flipped), "op", journal.ErrKey},
		{"cut", sealed[:20], "op", journal.ErrSealed},
		{"no prefix", "secret", "op", journal.ErrSealed},
		{"empty", "", "op", journal.ErrSealed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plain, err := s.Open(tt.sealed, tt.about)
			if plain != nil || !errors.Is(err, tt.want) {
				t.Fatalf("opened as %q, error %v", plain, err)
			}
			if tt.want == journal.ErrKey && !strings.Contains(err.Error(), file) {
				t.Errorf("error does not name the key file: %v", err)
			}
		})
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "journal.key")
	sealers := make([]*journal.Sealer, 20)
	var wg sync.WaitGroup
	for i := range sealers {
		wg.Go(func() {
			s, err := journal.NewSealer(file)
			if err != nil {
				t.Error(err)
			}
			sealers[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := seal(t, sealers[0], "secret", "op")
	for _, s := range sealers {
		if _, err := s.Open(sealed, "op"); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "5ec3e7", strings.Repeat("5ec3e7zz", 8), strings.Repeat("5ec3e7ab", 9)} {
		file := filepath.Join(t.TempDir(), "journal.key")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := journal.NewSealer(file)
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "5ec3e7") {
			t.Errorf("error is %v", err)
		}
	}
	if _, err := journal.NewSealer(t.TempDir()); err == nil {
		t.Error("a folder as a key")
	}
}

func FuzzOpenSealed(f *testing.F) {
	file := filepath.Join(f.TempDir(), "journal.key")
	if err := os.WriteFile(file, []byte(hex.EncodeToString(bytes.Repeat([]byte{7}, 32))), 0o600); err != nil {
		f.Fatal(err)
	}
	s := newSealer(f, file)
	sealed := seal(f, s, "secret", "op")
	f.Add(sealed, "op")
	f.Add(sealed[:len(sealed)-1], "op")
	f.Add("karbor1.", "")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, about string) {
		plain, err := s.Open(text, about)
		if err == nil && string(plain) != "secret" {
			t.Errorf("%q opened as %q", text, plain)
		}
		if err != nil && !errors.Is(err, journal.ErrKey) && !errors.Is(err, journal.ErrSealed) {
			t.Errorf("error is %v", err)
		}
	})
}

func writeKeys(t *testing.T, mode os.FileMode, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "journal.key")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func about(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

// TestRotation: keys are exchanged in three steps, between which workers with the files
// of two neighbouring ones work side by side.
func TestRotation(t *testing.T) {
	t.Parallel()
	older, newer := strings.Repeat("a1", 32), strings.Repeat("B2", 32)
	var steps []*journal.Sealer
	for _, lines := range [][]string{{older}, {"# keys", older, "", " " + newer + " "}, {newer, older, ""}, {newer}} {
		steps = append(steps, newSealer(t, writeKeys(t, 0o600, lines...)))
	}
	for i, from := range steps {
		sealed, signature := seal(t, from, "secret", "op"), from.Sign(about("content"))
		for j, to := range steps {
			plain, openErr := to.Open(sealed, "op")
			verifyErr := to.Verify(signature, about("content"))
			if step := i - j; step*step <= 1 {
				if openErr != nil || string(plain) != "secret" || verifyErr != nil {
					t.Errorf("of step %d in step %d: %q, %v, %v", i, j, plain, openErr, verifyErr)
				}
			} else if i+j == 3 && step*step == 9 { // no key in common
				if !errors.Is(openErr, journal.ErrKey) || !errors.Is(verifyErr, journal.ErrSignature) {
					t.Errorf("of step %d in step %d: %v, %v", i, j, openErr, verifyErr)
				}
				_, id, _ := strings.Cut(signature, "-")
				id, _, _ = strings.Cut(id, "-")
				if !strings.Contains(verifyErr.Error(), id) || strings.Contains(older+strings.ToLower(newer), id) {
					t.Errorf("%v does not name the key %s", verifyErr, id)
				}
			}
		}
	}
}

// TestSignatures: a signature is good for one content and one key, and a text that is
// none for nothing.
func TestSignatures(t *testing.T) {
	t.Parallel()
	s := newSealer(t, writeKeys(t, 0o600, strings.Repeat("a1", 32)))
	good := s.Sign(about("content"))
	if err := s.Verify(good, about("content")); err != nil {
		t.Error(err)
	}
	if strings.ContainsAny(good, "\"\\ \n") {
		t.Errorf("%q cannot stand in JSON", good)
	}
	bad := []string{"", "karbor1-", "karbor1--", "x" + good, good + "x", good[:len(good)-1], strings.ToUpper(good), seal(t, s, "secret", "op")}
	for i := range good {
		bad = append(bad, good[:i]+"?"+good[i+1:])
	}
	for _, text := range bad {
		if err := s.Verify(text, about("content")); !errors.Is(err, journal.ErrSignature) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "content ", "Content"} {
		if err := s.Verify(good, about(text)); !errors.Is(err, journal.ErrSignature) {
			t.Errorf("about %q: %v", text, err)
		}
	}
}
