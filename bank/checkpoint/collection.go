// SPDX-License-Identifier: Apache-2.0

// Package checkpoint keeps checkpoints in a bank, in the layout of the original:
//
//	/checkpoints/<id>/index.json
//	/checkpoints/<id>/remarks.json
//	/checkpoints/<id>/resource-data/<resource id>/...
//	/indices/by-provider/<provider>/<project>/<timestamp>@<id>
//	/indices/by-date/<date>/<project>/<timestamp>@<id>
//	/indices/by-plan/<plan>/<project>/<date>/<timestamp>@<id>
//
// index.json is the authority on a checkpoint. The indices, whose objects hold the id of the
// checkpoint, only serve to find it. remarks.json, which the original does not know, says what will
// not be restored exactly as it was; most checkpoints have none.
package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// Plan is the plan that a checkpoint protects.
type Plan struct {
	ID         string
	Name       string
	Unnamed    bool // the name is null
	ProviderID string
	ProjectID  string // of the checkpoint; stored beside the plan
	Resources  []resource.Resource
}

// Options of a Collection. The zero value is usable.
type Options struct {
	Clock    func() time.Time // nil: time.Now
	NewID    func() string    // nil: a random UUID
	Log      logrus.FieldLogger
	MaxReads int // limit of concurrent reads of index.json; 0: 16

	// Signing signs new checkpoints, and refuses those that others have planted or altered. Nil
	// does neither.
	Signing *Signing

	// AnyProvider gives access to the checkpoints of other providers that
	// share the bank, as the original does.
	AnyProvider bool
}

// Collection holds the checkpoints of one provider in a bank. It is safe for concurrent use. A
// process must have only one Collection for a provider, since the Collection serialises the writers
// of a checkpoint.
type Collection struct {
	bank        *bank.Bank
	checkpoints *bank.Section
	indices     *bank.Section
	providerID  string
	options     Options
	locks       locks
	refused     atomic.Int64
	counts      atomic.Pointer[map[Status]int]
	looks       looks
	unversioned atomic.Bool // listings of the store have no versions
}

// Refused returns the number of reads of an index.json with an invalid signature.
func (c *Collection) Refused() int64 { return c.refused.Load() }

// NewCollection returns the checkpoints of a provider.
func NewCollection(b *bank.Bank, providerID string, o Options) *Collection {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.MaxReads <= 0 {
		o.MaxReads = 16
	}
	o.Log = telemetry.OrDiscard(o.Log)
	return &Collection{
		bank:        b,
		checkpoints: constantSection(b, "/checkpoints"),
		indices:     constantSection(b, "/indices"),
		providerID:  providerID,
		options:     o,
	}
}

// constantSection opens a section whose path is known to be valid.
func constantSection(b *bank.Bank, path string) *bank.Section {
	s, err := b.Section(path)
	if err != nil {
		panic(fmt.Sprintf("checkpoint: section %s: %v", path, err))
	}
	return s
}

// CreateOptions describes a new checkpoint.
type CreateOptions struct {
	// ID of the checkpoint; empty means a new one.
	ID string
	// Resumed says that an earlier attempt with the same ID may have written the checkpoint, wholly
	// or in part. Objects that the attempt has written are kept.
	Resumed bool

	Plan   Plan
	Status Status // "": Protecting
	// ExtraInfo is the JSON value to store: a string with JSON in it, null or an object. Nil means
	// null.
	ExtraInfo json.RawMessage
	// ResourceGraph is the packed graph, or empty if it is not known yet.
	ResourceGraph string
}

// Create writes a checkpoint: index.json, then its entries in the three indices. If one of these
// writes fails, Create removes what it has written. It fails with InvalidInput for an id that
// cannot be part of a key.
func (c *Collection) Create(ctx context.Context, o CreateOptions) (*Checkpoint, error) {
	if o.Resumed {
		if cp, err := c.Resume(ctx, o.ID); cp != nil || !errors.Is(err, bank.ErrNotFound) {
			return cp, err
		}
	}
	cp, err := c.Draft(o, c.options.Clock())
	if err != nil {
		return nil, err
	}
	cp.draft = false
	err = c.checkpoints.CreateJSON(ctx, indexPath(cp.id), cp.document.text())
	if errors.Is(err, bank.ErrExists) {
		// Either an earlier attempt finished after our check, or our own write succeeded and its
		// response was lost. A new index.json would orphan the entries of the other one.
		return c.Resume(ctx, o.ID)
	}
	if err != nil {
		c.undoCreate(ctx, cp.fields)
		return nil, err
	}
	if err := c.writeIndices(ctx, cp.fields); err != nil {
		c.undoCreate(ctx, cp.fields)
		return nil, err
	}
	return cp, nil
}

// Draft returns a checkpoint as Create would write it at the given time. The draft is never
// written: Commit fails with ErrConflict.
func (c *Collection) Draft(o CreateOptions, at time.Time) (*Checkpoint, error) {
	if o.Status == "" {
		o.Status = Protecting
	}
	if extra := orNull(o.ExtraInfo); !json.Valid(extra) {
		return nil, fault.InvalidInput("extra_info of the checkpoint is not JSON")
	}
	if o.ID == "" {
		o.ID = c.options.NewID()
	}
	if err := checkKeyPart("id of the checkpoint", o.ID); err != nil {
		return nil, err
	}
	if err := o.Plan.CheckIDs(); err != nil {
		return nil, err
	}
	d := document{values: map[string]json.RawMessage{}}
	d.set(keyVersion, quoted(formatVersion))
	d.set(keyID, quoted(o.ID))
	d.set(keyStatus, quoted(string(o.Status)))
	d.set(keyOwner, quoted(c.bank.OwnerID()))
	d.set(keyProvider, quoted(o.Plan.ProviderID))
	d.set(keyProject, quoted(o.Plan.ProjectID))
	d.set(keyPlan, o.Plan.text())
	d.set(keyExtraInfo, orNull(o.ExtraInfo))
	d.set(keyCreatedAt, quoted(at.UTC().Format(time.DateOnly)))
	d.set(keyTimestamp, number(at.Unix()))
	if o.ResourceGraph != "" {
		d.set(keyGraph, quoted(o.ResourceGraph))
	}
	if c.options.Signing != nil {
		if err := c.options.Signing.sign(&d, nil); err != nil {
			return nil, fault.InvalidInput("the checkpoint cannot be signed: " + err.Error()).WithCause(err)
		}
	}

	f, err := d.fields()
	if err != nil {
		return nil, fmt.Errorf("creating a checkpoint: %w", err)
	}
	return &Checkpoint{collection: c, id: f.id, document: d, fields: f, base: f.status, draft: true}, nil
}

// Resume returns a checkpoint whose creation may have been interrupted before its entries were
// written, and writes them. If that fails it returns the checkpoint and an error.
func (c *Collection) Resume(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if f := cp.read(); f.status != Deleted {
		err = c.writeIndices(ctx, f)
	}
	return cp, err
}

// writeIndices writes the three entries of a checkpoint concurrently. If one write fails it still
// waits for the others: an entry that arrived after its removal would stay.
func (c *Collection) writeIndices(ctx context.Context, f fields) error {
	var writing errgroup.Group
	for _, key := range indexKeys(f) {
		writing.Go(func() error { return c.indices.PutText(ctx, key, f.id) })
	}
	return writing.Wait()
}

// undoTimeout bounds the removal of a checkpoint whose creation failed.
const undoTimeout = 30 * time.Second

// undoCreate removes a partially written checkpoint. It continues after the caller's context has
// ended, since nobody else would clean up. The indices go first: an entry without index.json is
// worse than index.json without an entry.
func (c *Collection) undoCreate(ctx context.Context, f fields) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	err := c.dropIndices(ctx, f)
	if e := c.remove(ctx, f.id); e != nil && !errors.Is(e, bank.ErrNotFound) {
		err = join(err, e)
	}
	if err != nil {
		c.options.Log.WithError(err).WithField("checkpoint_id", f.id).
			Warn("creating a checkpoint failed and parts of it remain in the bank")
	}
}

// Get reads a checkpoint, deleted ones included. It fails with CheckpointNotFound if there is none,
// if it belongs to another provider, or if the id leads elsewhere; with InvalidParameterValue for
// an id with characters that keys do not allow; and with BankGetObjectFailed, naming the key, if
// index.json is broken, cannot be read or has an invalid signature.
func (c *Collection) Get(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.get(ctx, id)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, fault.CheckpointNotFound(id).WithCause(err)
	}
	if err == nil {
		err = c.ours(id, cp.fields.provider)
	}
	if err != nil {
		return nil, err
	}
	return cp, nil
}

// ours fails with CheckpointNotFound for a checkpoint of a provider that is not shown.
func (c *Collection) ours(id, provider string) error {
	if provider == c.providerID || c.options.AnyProvider {
		return nil
	}
	return fault.CheckpointNotFound(id).WithCause(fmt.Errorf("checkpoint belongs to provider %s", provider))
}

// invalidSection is the message that karbor-api's users read about such an id.
//
// karbor: bank_plugin.py normalize_path
const invalidSection = "Invalid section. Must begin and end with a slash, and contain valid characters"

func (c *Collection) get(ctx context.Context, id string) (*Checkpoint, error) {
	if strings.ContainsFunc(id, notOfKeys) {
		return nil, fault.InvalidParameterValue(invalidSection)
	}
	if !validID(id) {
		return nil, fmt.Errorf("checkpoint id %q is not valid: %w", id, bank.ErrNotFound)
	}
	text, version, err := c.checkpoints.GetChanged(ctx, indexPath(id), "")
	if l, _ := c.looks.of(id); l != nil && l.version != version {
		c.looks.forget(id)
	}
	if err != nil {
		return nil, err
	}
	d, f, err := c.parse(id, text)
	if err != nil {
		return nil, err
	}
	return &Checkpoint{collection: c, id: id, document: d, fields: f, base: f.status}, nil
}

func (c *Collection) parse(id string, text []byte) (document, fields, error) {
	d, err := parseDocument(text)
	if err != nil {
		return d, fields{}, c.broken(id, err)
	}
	f, err := d.fields()
	if errors.Is(err, errVersion) {
		return d, f, fault.KarborException(err.Error()).WithCause(err)
	}
	if err == nil && f.id != id {
		err = fmt.Errorf("%q is %q", keyID, f.id)
	}
	if err == nil && (f.provider == c.providerID || c.options.AnyProvider) { // other providers have their own keys
		if err = c.options.Signing.verify(&d); err != nil {
			c.refused.Add(1)
		}
	}
	if err != nil {
		return d, f, c.broken(id, err)
	}
	return d, f, nil
}

// ErrBroken is in the chain of every error about the content of an index.json. Reading the object
// again does not help.
var ErrBroken = errors.New("index.json is broken")

// unusable reports whether err, returned from reading a checkpoint, is about that checkpoint only.
// Callers that read many checkpoints skip it and continue.
func unusable(err error) bool {
	return errors.Is(err, ErrBroken) || errors.Is(err, errVersion) || errors.Is(err, bank.ErrUnusable)
}

// skipPartial logs the error of a partial listing and returns nil for it; other errors are returned.
func (c *Collection) skipPartial(err error) error {
	if errors.As(err, new(*bank.PartialError)) {
		c.options.Log.Warn(err)
		return nil
	}
	return err
}

func (c *Collection) broken(id string, err error) error {
	key := c.checkpoints.Path() + indexPath(id)
	return fault.BankGetObjectFailed(key, err.Error()).WithCause(fmt.Errorf("%w: %w", ErrBroken, err))
}

// write stores index.json.
func (c *Collection) write(ctx context.Context, id string, d *document) error {
	defer c.looks.forget(id)
	return c.checkpoints.PutJSON(ctx, indexPath(id), d.text())
}

// remove removes index.json.
func (c *Collection) remove(ctx context.Context, id string) error {
	defer c.looks.forget(id)
	return c.checkpoints.Delete(ctx, indexPath(id))
}

// dropIndices removes the entries of a checkpoint. A missing entry is not an error.
func (c *Collection) dropIndices(ctx context.Context, f fields) error {
	var failed error
	for _, key := range indexKeys(f) {
		if err := c.indices.Delete(ctx, key); err != nil && !errors.Is(err, bank.ErrNotFound) {
			failed = join(failed, err)
		}
	}
	return failed
}

// ListOptions selects and orders checkpoints.
type ListOptions struct {
	ProjectID  string // owner of the checkpoints; ignored with AllTenants
	AllTenants bool

	PlanID string // empty: of any plan
	// StartDate and EndDate, YYYY-MM-DD in UTC, bound the day of creation inclusively. Without
	// EndDate the range ends today; EndDate alone has no effect.
	StartDate, EndDate string

	Marker     string // id of a checkpoint of the project; the listing begins after it
	Limit      int    // 0: no limit
	Descending bool   // newest first
}

// List returns the checkpoints that o selects, ordered by the second of their creation and then by
// id. The marker itself need not be selected.
//
// List skips entries whose index.json is missing, broken, unusable, deleted or another provider's,
// entries that contradict their index.json (of another project or plan), and places of the index
// that cannot be listed; it logs each problem. An outage of the bank is an error. List fails with
// CheckpointNotFound for a marker that is unknown or of another project, with InvalidInput for an
// invalid date, and with errors of the bank.
func (c *Collection) List(ctx context.Context, o ListOptions) ([]*Checkpoint, error) {
	found := []*Checkpoint{}
	err := c.Each(ctx, o, func(cp *Checkpoint) error {
		found = append(found, cp)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Each calls visit for each checkpoint of List, in the same order, and holds only the checkpoints
// that it is reading. It stops at the first error of visit and returns it.
func (c *Collection) Each(ctx context.Context, o ListOptions, visit func(*Checkpoint) error) error {
	s, err := c.selected(ctx, o)
	if err != nil {
		return err
	}
	return load(ctx, c, s, func(ctx context.Context, id string) (*Checkpoint, *fields, []string, error) {
		cp, err := c.Get(ctx, id)
		if err != nil {
			return nil, nil, nil, err
		}
		return cp, &cp.fields, indexKeys(cp.fields), nil
	}, visit)
}

// Look is Each for callers that only show checkpoints. It reads only the checkpoints that have
// changed since they were last read.
func (c *Collection) Look(ctx context.Context, o ListOptions, visit func(*Listed) error) error {
	s, err := c.selected(ctx, o)
	if err != nil {
		return err
	}
	shown := s.entries
	if o.Limit > 0 {
		shown = shown[:min(o.Limit, len(shown))]
	}
	versions, err := c.versions(ctx, shown)
	if err != nil {
		return err
	}
	return load(ctx, c, s, func(ctx context.Context, id string) (*Listed, *fields, []string, error) {
		l, err := c.look(ctx, id, c.versionOf(versions, id))
		if err == nil {
			err = c.ours(id, l.fields.provider)
		}
		if err != nil {
			return nil, nil, nil, err
		}
		return l, &l.fields, l.keys, nil
	}, visit)
}

// selection is the input of a listing.
type selection struct {
	entries []entry // in their order
	days    *dayRange
	limit   int
	exact   bool // every entry belongs to the listing
}

func (c *Collection) selected(ctx context.Context, o ListOptions) (s selection, err error) {
	days, err := parseRange(o, c.options.Clock)
	if err != nil {
		return s, err
	}
	entries, err := c.entries(ctx, o)
	if err != nil {
		return s, err
	}
	slices.SortFunc(entries, func(a, b entry) int {
		switch {
		case a == b:
			return 0
		case a.before(b) != o.Descending:
			return -1
		}
		return 1
	})
	if o.Marker != "" {
		if entries, err = c.after(ctx, entries, o); err != nil {
			return s, err
		}
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !days.mayHold(e) })
	return selection{entries: entries, days: days, limit: o.Limit, exact: o.PlanID == "" && days == nil}, nil
}

// entries lists the index that fits o best. The original looks up dates in by-date, which mixes all
// providers and tenants; by-provider holds the same checkpoints sorted out.
func (c *Collection) entries(ctx context.Context, o ListOptions) ([]entry, error) {
	prefix, s := "by-provider/"+c.providerID+"/", shape{}
	if o.PlanID != "" {
		prefix, s = "by-plan/"+o.PlanID+"/", shape{date: true}
		if !validID(o.PlanID) {
			return nil, nil
		}
	}
	if o.AllTenants {
		s.project = true
	} else {
		if !validID(o.ProjectID) {
			return nil, nil
		}
		prefix += o.ProjectID + "/"
	}
	keys, err := c.indices.List(ctx, bank.ListOptions{Prefix: prefix})
	if err := c.skipPartial(err); err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(keys))
	for _, key := range keys {
		if e, ok := s.parse(key[len(prefix):], o.ProjectID); ok {
			e.key = key
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// after drops the entries up to the marker. A deleted checkpoint, which no longer has an entry, is
// still a valid marker.
func (c *Collection) after(ctx context.Context, entries []entry, o ListOptions) ([]entry, error) {
	at := slices.IndexFunc(entries, func(e entry) bool { return e.id == o.Marker })
	if at >= 0 {
		return entries[at+1:], nil
	}
	cp, err := c.Get(ctx, o.Marker)
	if err != nil {
		return nil, err
	}
	if !o.AllTenants && cp.fields.project != o.ProjectID {
		return nil, fault.CheckpointNotFound(o.Marker) // callers need not learn that the checkpoint exists
	}
	marker := entry{timestamp: cp.fields.timestamp, id: cp.id}
	return slices.DeleteFunc(entries, func(e entry) bool {
		return marker.before(e) == o.Descending
	}), nil
}

// reader reads a checkpoint for a listing. It returns the checkpoint, the fields of index.json and
// the keys of the entries, and fails as Get does.
type reader[T any] func(ctx context.Context, id string) (T, *fields, []string, error)

// load reads the checkpoints of entries until limit of them were visited. If the entries are exact,
// it reads no more than the listing needs.
func load[T any](ctx context.Context, c *Collection, s selection, one reader[*T], visit func(*T) error) error {
	for visited := 0; len(s.entries) > 0 && (s.limit <= 0 || visited < s.limit); {
		batch := batchReads * c.options.MaxReads
		if s.limit > 0 {
			needed := s.limit - visited
			if !s.exact {
				needed = max(needed, c.options.MaxReads)
			}
			batch = min(batch, needed)
		}
		batch = min(batch, len(s.entries))
		found, err := read(ctx, c, s.entries[:batch], s.days, one)
		if err != nil {
			return err
		}
		s.entries = s.entries[batch:]
		for _, cp := range found {
			if cp == nil || s.limit > 0 && visited == s.limit {
				continue
			}
			if err := visit(cp); err != nil {
				return err
			}
			visited++
		}
	}
	return nil
}

// batchReads is the number of checkpoints in a batch per concurrent read, large enough that one
// slow read does not hold up the others.
const batchReads = 4

// read reads the checkpoints of entries, in their order. The result is nil where there is nothing
// to list.
func read[T any](ctx context.Context, c *Collection, entries []entry, days *dayRange, one reader[*T]) ([]*T, error) {
	found := make([]*T, len(entries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.MaxReads)
	for i, e := range entries {
		group.Go(func() error {
			cp, f, keys, err := one(ctx, e.id)
			switch {
			case err == nil:
				switch {
				case f.status == Deleted, !days.holds(f.createdAt):
				case !slices.Contains(keys, e.key):
					c.options.Log.WithField("checkpoint_id", e.id).Warnf("left out of the listing: index entry %s is not one that the checkpoint has", e.key)
				default:
					found[i] = cp
				}
				return nil
			case fault.Is(err, "CheckpointNotFound"), errors.Is(err, bank.ErrNotFound):
				c.options.Log.WithField("checkpoint_id", e.id).Debug("index entry without a checkpoint of this provider")
				return nil
			case unusable(err):
				c.options.Log.WithError(err).WithField("checkpoint_id", e.id).Warn("left out of the listing")
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

// dayRange bounds days, both ends included. A nil range contains every day.
type dayRange struct{ first, last time.Time }

// dateLayout accepts the same dates as Python's %Y-%m-%d, including months and days of one digit.
const dateLayout = "2006-1-2"

func parseRange(o ListOptions, clock func() time.Time) (*dayRange, error) {
	first, last := time.Time{}, clock().UTC()
	for _, day := range []struct {
		name, text string
		into       *time.Time
	}{{"start_date", o.StartDate, &first}, {"end_date", o.EndDate, &last}} {
		if day.text == "" {
			continue
		}
		var err error
		if *day.into, err = time.Parse(dateLayout, day.text); err != nil {
			return nil, fault.InvalidInput(fmt.Sprintf("%s %.40q is not a date of the form YYYY-MM-DD", day.name, day.text))
		}
	}
	if o.StartDate == "" {
		return nil, nil
	}
	return &dayRange{first: first, last: last}, nil
}

func (r *dayRange) holds(date string) bool {
	if r == nil {
		return true
	}
	return date >= r.first.Format(time.DateOnly) && date <= r.last.Format(time.DateOnly)
}

// mayHold judges by the key alone. If the key has no date, its timestamp gives the day, with a
// tolerance of one day: the original reads the clock twice, for the date and for the timestamp, so
// the two may disagree around midnight.
func (r *dayRange) mayHold(e entry) bool {
	if r == nil {
		return true
	}
	if e.date != "" {
		return r.holds(e.date)
	}
	day := time.Unix(e.timestamp, 0).UTC()
	return !day.Before(r.first.AddDate(0, 0, -1)) && day.Before(r.last.AddDate(0, 0, 2))
}
