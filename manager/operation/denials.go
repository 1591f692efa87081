// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/sirupsen/logrus"
)

// maxDenials bounds the record of denied requests, which grows while requests arrive during an outage.
const maxDenials = 10_000

// denials remembers operations whose callers were told that they could not be recorded.
// The database may have stored such an operation although its response was lost. An entry
// that is found later ends with the error that its caller got. The file keeps denials over a
// restart of the worker, which is likely during an outage of the database.
type denials struct {
	file string // "" keeps them in memory only
	log  logrus.FieldLogger

	mu   sync.Mutex
	told map[string]string // what callers were told, by operation id
}

// denial is a line of the file.
type denial struct {
	ID   string `json:"id"`
	Told string `json:"told"`
}

// newDenials reads the denials of earlier runs. A line that cannot be read is skipped: its
// writer may have died within it.
func newDenials(file string, log logrus.FieldLogger) *denials {
	d := &denials{file: file, log: log, told: map[string]string{}}
	if file == "" {
		return d
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d
	}
	if err != nil {
		log.Warnf("operations that an earlier run denied are not known: %v", err)
		return d
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && len(d.told) < maxDenials; {
		var one denial
		if json.Unmarshal(lines.Bytes(), &one) == nil {
			d.told[one.ID] = one.Told
		}
	}
	return d
}

// add records the error text that the caller of an operation gets, and returns once it is on disk.
func (d *denials) add(id, told string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.told) >= maxDenials {
		d.clear()
	}
	d.told[id] = told
	if d.file == "" {
		return
	}
	if err := d.append(denial{id, told}); err != nil {
		d.log.Warnf("that operation %s was denied is not known after a restart: %v", id, err)
	}
}

func (d *denials) append(one denial) (err error) {
	line, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encoding a denial: %w", err)
	}
	f, err := os.OpenFile(d.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The line before may have been cut off by a crash.
	if _, err := fmt.Fprintf(f, "\n%s\n", line); err != nil {
		return err
	}
	return f.Sync()
}

// take returns the error text that the caller of an operation got, and removes it. ok is false for an
// operation that was accepted.
func (d *denials) take(id string) (told string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	told, ok = d.told[id]
	if delete(d.told, id); ok && len(d.told) == 0 {
		d.clear()
	}
	return told, ok
}

func (d *denials) clear() {
	clear(d.told)
	if d.file != "" {
		if err := os.Remove(d.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.log.Warnf("removing the file of denied operations: %v", err)
		}
	}
}
