// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// ErrConflict reports that another writer has changed a checkpoint, so that a change of its status
// no longer applies.
var ErrConflict = errors.New("checkpoint was changed meanwhile")

// ErrTransition reports a status that cannot follow the current one.
var ErrTransition = errors.New("checkpoint cannot change to this status")

// Checkpoint is a checkpoint as it was read. Set methods change it in memory, and Commit writes
// these changes. It is safe for concurrent use.
type Checkpoint struct {
	collection *Collection
	id         string
	draft      bool // not in the bank

	mu       sync.Mutex
	document document
	fields   fields
	changed  map[string]json.RawMessage // since the last commit
	base     Status                     // last known status in the bank
	tried    Status                     // status of a commit whose outcome is unknown
	// replaced holds the digests of documents that our commits have replaced. A store that still
	// returns one of them lags behind.
	replaced map[[sha256.Size]byte]bool
	shown    [sha256.Size]byte // digest of the document that the store returned last
	recorder *objects          // records objects while they are written
	sealed   map[string]string // digests of objects, for the next commit to sign
}

// ID returns the id of the checkpoint.
func (c *Checkpoint) ID() string { return c.id }

// OwnerID returns the owner id of the bank that created the checkpoint.
func (c *Checkpoint) OwnerID() string { return c.read().owner }

// Status returns the status, as last read or set.
func (c *Checkpoint) Status() Status { return c.read().status }

// ProjectID returns the project that owns the checkpoint.
func (c *Checkpoint) ProjectID() string { return c.read().project }

// ProviderID returns the provider that the checkpoint was created through.
func (c *Checkpoint) ProviderID() string { return c.read().provider }

// CreatedAt returns the day of creation, YYYY-MM-DD in UTC.
func (c *Checkpoint) CreatedAt() string { return c.read().createdAt }

// Timestamp returns the time of creation in seconds since the epoch.
func (c *Checkpoint) Timestamp() int64 { return c.read().timestamp }

// Plan returns the plan as it was when the checkpoint was created.
func (c *Checkpoint) Plan() Plan { return c.read().plan }

// ExtraInfo returns the JSON value of extra_info: a string, null or an object.
func (c *Checkpoint) ExtraInfo() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return orNull(c.document.values[keyExtraInfo])
}

// ResourceGraph returns the packed resource graph, and false before it was
// built.
func (c *Checkpoint) ResourceGraph() (packed string, ok bool) {
	f := c.read()
	if f.graph == nil {
		return "", false
	}
	return *f.graph, true
}

func (c *Checkpoint) read() fields {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fields
}

// SetStatus changes the status. It fails with ErrTransition if the status in the bank cannot become
// this one. A status that was set but not committed does not count.
func (c *Checkpoint) SetStatus(to Status) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.base.CanBecome(to) && (c.tried == "" || !c.tried.CanBecome(to)) {
		return fmt.Errorf("checkpoint %s: %w: from %q to %q", c.id, ErrTransition, c.base, to)
	}
	c.fields.status = to
	c.set(keyStatus, quoted(string(to)))
	return nil
}

// SetResourceGraph sets the packed resource graph.
func (c *Checkpoint) SetResourceGraph(packed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fields.graph = &packed
	c.set(keyGraph, quoted(packed))
}

// SetExtraInfo sets the JSON value of extra_info.
func (c *Checkpoint) SetExtraInfo(value json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(keyExtraInfo, orNull(value))
}

// set records a change for the next commit. Documents share their values but never their maps.
func (c *Checkpoint) set(key string, value json.RawMessage) {
	if c.changed == nil {
		c.changed = map[string]json.RawMessage{}
	}
	c.changed[key] = value
	c.document.set(key, value)
}

// Commit writes the changes into the checkpoint as it now stands in the bank, so that changes of
// other writers to other keys are kept. Without changes Commit does nothing. It fails with
// ErrConflict if another writer began to delete the checkpoint, or gave it a status that ours
// cannot follow; the changes then stay uncommitted.
func (c *Checkpoint) Commit(ctx context.Context) error {
	unlock := c.collection.locks.lock(c.id)
	defer unlock()
	changed, known := c.pending()
	if len(changed) == 0 {
		return nil
	}
	if c.draft {
		return fmt.Errorf("checkpoint %s: %w: it is not in the bank yet", c.id, ErrConflict)
	}
	current, err := c.refresh(ctx, known)
	if err != nil {
		return err
	}
	for _, key := range []string{keyStatus, keyExtraInfo, keyGraph} {
		if value, ok := changed[key]; ok {
			current.set(key, value)
		}
	}
	if err := c.collection.options.Signing.resign(&current, c.sealedObjects()); err != nil {
		return fmt.Errorf("commit checkpoint %s: %w", c.id, err)
	}
	merged, err := current.fields()
	if err != nil {
		return fmt.Errorf("commit checkpoint %s: %w", c.id, err)
	}
	c.mu.Lock()
	c.tried = merged.status
	c.mu.Unlock()
	if err := c.collection.write(ctx, c.id, &current); err != nil {
		return err
	}
	c.committed(changed, current, merged)
	return nil
}

// pending returns the changes, and the document without them. The lock is not held during calls to
// the bank, so readers need not wait for it.
func (c *Checkpoint) pending() (changed map[string]json.RawMessage, known document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known = c.document.clone()
	known.set(keyStatus, quoted(string(c.base)))
	return maps.Clone(c.changed), known
}

// committed adopts the written document. Changes made meanwhile stay on top of it.
func (c *Checkpoint) committed(changed map[string]json.RawMessage, written document, f fields) {
	c.mu.Lock()
	defer c.mu.Unlock()
	status, graph := c.fields.status, c.fields.graph
	c.document, c.fields, c.base, c.tried = written, f, f.status, ""
	if c.replaced == nil {
		c.replaced = map[[sha256.Size]byte]bool{}
	}
	c.replaced[c.shown] = true
	c.shown = sha256.Sum256(written.text())
	delete(c.replaced, c.shown)
	for key, value := range c.changed {
		if bytes.Equal(value, changed[key]) {
			delete(c.changed, key)
			continue
		}
		c.document.set(key, value)
		switch key {
		case keyStatus:
			c.fields.status = status
		case keyGraph:
			c.fields.graph = graph
		}
	}
}

// refresh reads index.json again and checks whether our status may follow the one in it. A store
// that lags behind its own writes may not find index.json yet, or may return a document that we
// have replaced; refresh then returns the known document.
func (c *Checkpoint) refresh(ctx context.Context, known document) (document, error) {
	text, err := c.collection.checkpoints.GetBytes(ctx, indexPath(c.id))
	if errors.Is(err, bank.ErrNotFound) {
		return known, nil
	}
	if err != nil {
		return document{}, err
	}
	shown := sha256.Sum256(text)
	c.mu.Lock()
	lags := c.replaced[shown]
	if !lags {
		c.shown = shown
	}
	c.mu.Unlock()
	if lags {
		return known, nil
	}
	current, f, err := c.collection.parse(c.id, text)
	if err != nil {
		return document{}, err
	}
	return current, c.mayFollow(f.status)
}

// mayFollow checks our status, if it changes, against the status in the bank.
func (c *Checkpoint) mayFollow(now Status) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.changed[keyStatus]; !ok {
		return nil
	}
	ours := now == c.base || c.tried != "" && now == c.tried
	if !ours && (now == Deleting || now == Deleted) || !now.CanBecome(c.fields.status) {
		return fmt.Errorf("checkpoint %s: %w: status is %q, was %q, cannot become %q",
			c.id, ErrConflict, now, c.base, c.fields.status)
	}
	return nil
}

// Delete sets the status to deleted, removes the remarks and drops the checkpoint from the indices.
// index.json stays, so that the checkpoint can still be shown. Delete may be repeated until it
// succeeds.
func (c *Checkpoint) Delete(ctx context.Context) error {
	if err := c.SetStatus(Deleted); err != nil {
		return err
	}
	if err := c.removeRemarks(ctx); err != nil {
		return err
	}
	if err := c.Commit(ctx); err != nil {
		return err
	}
	return c.collection.dropIndices(ctx, c.read())
}

// Section returns the part of the bank that holds the data of one resource of the checkpoint, with
// the digests of the objects if the checkpoint has a signature over them. It fails with
// InvalidInput for an id that cannot be part of a key: an id with a slash would lead into the data
// of another resource.
func (c *Checkpoint) Section(resourceID string) (*bank.Section, error) {
	if err := checkKeyPart("id of the resource", resourceID); err != nil {
		return nil, err
	}
	return c.section(dataPath(c.id) + resourceID)
}

func (c *Checkpoint) section(path string) (*bank.Section, error) {
	section, err := c.collection.checkpoints.Section(path)
	if err != nil {
		return nil, err
	}
	if digests := c.digests(); digests != nil {
		section = section.WithDigests(digests)
	}
	return section, nil
}

// View is a checkpoint as the RPC shows it. It marshals to the same dict as the original.
//
// karbor: checkpoint.py Checkpoint.to_dict
type View struct {
	ID             string          `json:"id"`
	Status         Status          `json:"status"`
	ProtectionPlan json.RawMessage `json:"protection_plan"`
	ExtraInfo      json.RawMessage `json:"extra_info"`
	ProjectID      string          `json:"project_id"`
	ResourceGraph  string          `json:"resource_graph"`
	CreatedAt      string          `json:"created_at"`
	// Timestamp is the creation time in seconds since 1970; CreatedAt is only the day. View leaves
	// it out, as the original does; version 1.1 of the RPC has it.
	Timestamp int64 `json:"timestamp,omitempty"`
}

// emptyGraph is shown until the graph is built: karborclient and the dashboard parse the text
// unconditionally and break on null.
const emptyGraph = "[{}, []]"

// View returns the checkpoint for the RPC.
func (c *Checkpoint) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return viewOf(&c.document, c.fields)
}

func viewOf(d *document, f fields) View {
	graph := emptyGraph
	if f.graph != nil {
		graph = *f.graph
	}
	return View{
		ID:             f.id,
		Status:         f.status,
		ProtectionPlan: d.values[keyPlan],
		ExtraInfo:      orNull(d.values[keyExtraInfo]),
		ProjectID:      f.project,
		ResourceGraph:  graph,
		CreatedAt:      f.createdAt,
	}
}

// viewDepth is the maximum nesting depth of values in a checkpoint that is shown. It exceeds the
// limit for arguments of calls, since any worker may have written the bank's content.
const viewDepth = 3 * pyjson.MaxDepth

// Check returns an error for a checkpoint that callers could not parse: in a listing, it would make
// all other checkpoints unreadable too.
func (v View) Check() error {
	for _, value := range []json.RawMessage{v.ProtectionPlan, v.ExtraInfo, json.RawMessage(v.ResourceGraph)} {
		if err := pyjson.CheckReadable(value, viewDepth); err != nil {
			return err
		}
	}
	return nil
}

// remarksKey is an object beside index.json that the original does not know and leaves alone. A
// checkpoint without remarks does not have it.
const remarksKey = "remarks.json"

// ErrRemarks is in the chain of every error about the content of a remarks.json. Reading the object
// again does not help.
var ErrRemarks = errors.New("remarks.json is not what was written")

func remarksPath(id string) string { return id + "/" + remarksKey }

// PutRemarks stores the remarks on the checkpoint's resources, if there are any. Seal signs them
// together with the objects of the resources.
func (c *Checkpoint) PutRemarks(ctx context.Context, d remark.Document) error {
	if d.Empty() {
		return nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding the remarks of checkpoint %s: %w", c.id, err)
	}
	section, err := c.section(c.id)
	if err != nil {
		return err
	}
	return section.PutBytes(ctx, remarksKey, text)
}

// Remarks reads the remarks that PutRemarks stored. A checkpoint that is being deleted has none. It
// fails with ErrRemarks if the remarks cannot be read, are of a later version, or differ from the
// signed ones.
func (c *Checkpoint) Remarks(ctx context.Context) (d remark.Document, err error) {
	switch c.Status() {
	case Deleting, Deleted, ErrorDeleting:
		return d, nil
	}
	section, err := c.section(c.id)
	if err != nil {
		return d, err
	}
	text, err := section.GetBytes(ctx, remarksKey)
	switch {
	case errors.Is(err, bank.ErrNotFound):
		return d, nil
	case errors.Is(err, bank.ErrAltered), errors.Is(err, bank.ErrUnusable):
		return d, fmt.Errorf("%w: %w", ErrRemarks, err)
	case err != nil:
		return d, err
	}
	key := section.Path() + remarksKey
	if err := json.Unmarshal(text, &d); err != nil {
		return remark.Document{}, fault.BankGetObjectFailed(key, "it is not JSON of the expected form").WithCause(fmt.Errorf("%w: %w", ErrRemarks, err))
	}
	if d.Version != remark.Version {
		err := fmt.Errorf("%w: version %d is not known", ErrRemarks, d.Version)
		return remark.Document{}, fault.BankGetObjectFailed(key, err.Error()).WithCause(err)
	}
	return remark.Merge(d, remark.Document{}), nil // Merge enforces the limits, whoever wrote the remarks.
}

// removeRemarks deletes the remarks that PutRemarks stored.
func (c *Checkpoint) removeRemarks(ctx context.Context) error {
	err := c.collection.checkpoints.Delete(ctx, remarksPath(c.id))
	if errors.Is(err, bank.ErrNotFound) {
		return nil
	}
	return err
}
