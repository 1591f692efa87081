// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"os"
	"sync"
)

// logFile is a file that log rotation may move away.
type logFile struct {
	path  string
	watch bool

	mu   sync.Mutex
	file *os.File
}

func openLogFile(path string, watch bool) (*logFile, error) {
	f := &logFile{path: path, watch: watch}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	f.mu.Lock()
	old := f.file
	f.file = file
	f.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Write implements io.Writer. A file that cannot be reopened is written to
// under its new name rather than not at all.
func (f *logFile) Write(line []byte) (int, error) {
	if f.watch && f.moved() {
		if err := f.reopen(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(line)
}

func (f *logFile) moved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	open, err := f.file.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(f.path)
	return err != nil || !os.SameFile(open, named)
}

// Close implements io.Closer.
func (f *logFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
