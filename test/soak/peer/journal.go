// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// journal is the file in which the servers enter work before they accept it, as a
// database would: who enters has seen what the others have entered. A line is
// "run" for work that is new and "again" for work that is not, then who, the
// how-manieth request of that process, unique id and id. What is written outlives
// the process, hence no fsync.
type journal struct {
	mu   sync.Mutex
	file *os.File
	seen int64  // bytes read
	rest []byte // of the line that they end in
	known
}

func openJournal(path string, expected int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: f, known: newKnown(expected)}, nil
}

// enter returns when the request is on record.
func (j *journal) enter(who string, count uint64, uniqueID, id string) (err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The lock ends with the process that holds it.
	if err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking the journal: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Flock(int(j.file.Fd()), syscall.LOCK_UN)) }()
	if err := j.follow(); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	what := "run"
	if j.has([]byte(uniqueID)) {
		what = "again"
	}
	if _, err := fmt.Fprintln(j.file, what, who, count, uniqueID, id); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// follow reads what has been entered since, by this process too.
func (j *journal) follow() error {
	var chunk [8192]byte
	for {
		n, err := j.file.ReadAt(chunk[:], j.seen)
		j.seen += int64(n)
		j.rest = append(j.rest, chunk[:n]...)
		for {
			line, rest, whole := bytes.Cut(j.rest, []byte("\n"))
			if !whole {
				break
			}
			if f := bytes.Fields(line); len(f) == 5 && string(f[0]) == "run" {
				if err := j.add(f[3]); err != nil {
					return err
				}
			}
			j.rest = rest
		}
		j.rest = append([]byte(nil), j.rest...)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (j *journal) close() error { return j.file.Close() }
