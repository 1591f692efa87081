// SPDX-License-Identifier: Apache-2.0

// Package checkpoint keeps checkpoints in a bank, in the layout of the
// original:
//
//	/checkpoints/<id>/index.json
//	/checkpoints/<id>/remarks.json
//	/checkpoints/<id>/resource-data/<resource id>/...
//	/indices/by-provider/<provider>/<project>/<timestamp>@<id>
//	/indices/by-date/<date>/<project>/<timestamp>@<id>
//	/indices/by-plan/<plan>/<project>/<date>/<timestamp>@<id>
//
// index.json is the truth about a checkpoint. The indices, whose objects hold
// the checkpoint's id, only find it. remarks.json, of which the original knows nothing,
// says what of the resources will not come back as it was; most checkpoints have none.
package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Options of a Collection. The zero value is good.
type Options struct {
	Clock    func() time.Time // nil: time.Now
	NewID    func() string    // nil: a random UUID
	Log      logrus.FieldLogger
	MaxReads int // index.json objects read at the same time; 0: 16

	// Signing signs what is created, and refuses what others have planted or altered;
	// nil does neither.
	Signing *Signing

	// AnyProvider gives access to the checkpoints of other providers that
	// share the bank, as the original does.
	AnyProvider bool
}

// Collection is the checkpoints of one provider in a bank. It is safe for
// concurrent use. One process makes one Collection for a provider, since the
// collection serialises the writers of a checkpoint.
type Collection struct {
	bank        *bank.Bank
	checkpoints *bank.Section
	indices     *bank.Section
	providerID  string
	options     Options
	locks       locks
	refused     atomic.Int64
	counts      atomic.Pointer[map[Status]int]
}

// Refused returns how often an index.json was read whose signature does not hold.
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

// CreateOptions describe a new checkpoint.
type CreateOptions struct {
	// ID of the checkpoint; "": a new one.
	ID string
	// Resumed tells that an earlier attempt with the same ID may have written
	// the checkpoint, wholly or in part. What it has written stays as it is.
	Resumed bool

	Plan   Plan
	Status Status // "": Protecting
	// ExtraInfo is the JSON value to store: a string with JSON in it, null or
	// an object. nil is null.
	ExtraInfo json.RawMessage
	// ResourceGraph is the packed graph; "" when it is not known yet.
	ResourceGraph string
}

// Create writes a checkpoint: index.json, then its entries in the three
// indices. When one of these fails, what was written is removed again. It fails with
// InvalidInput for an id that can be no part of a key.
func (c *Collection) Create(ctx context.Context, o CreateOptions) (*Checkpoint, error) {
	if o.Resumed {
		if cp, err := c.takeUp(ctx, o.ID); cp != nil || !errors.Is(err, bank.ErrNotFound) {
			return cp, err
		}
	}
	if o.Status == "" {
		o.Status = Protecting
	}
	if extra := orNull(o.ExtraInfo); !json.Valid(extra) {
		return nil, fault.InvalidInput("extra_info of the checkpoint is not JSON")
	}
	now := c.options.Clock().UTC()
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
	d.set(keyCreatedAt, quoted(now.Format(time.DateOnly)))
	d.set(keyTimestamp, number(now.Unix()))
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
		return nil, fmt.Errorf("create checkpoint: %w", err)
	}
	cp := &Checkpoint{collection: c, id: f.id, document: d, fields: f, base: f.status}
	err = c.checkpoints.CreateJSON(ctx, indexPath(cp.id), d.text())
	if errors.Is(err, bank.ErrExists) {
		// Of an earlier attempt that came to its end after we had looked, or ours,
		// whose answer was lost. In its place another's indices would lead nowhere.
		return c.takeUp(ctx, o.ID)
	}
	if err != nil {
		c.undoCreate(ctx, f)
		return nil, err
	}
	if err := c.writeIndices(ctx, f); err != nil {
		c.undoCreate(ctx, f)
		return nil, err
	}
	return cp, nil
}

// takeUp returns a checkpoint whose creation may have been cut off before its
// entries, which it writes: also with an error if they could not be written.
func (c *Collection) takeUp(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if f := cp.read(); f.status != Deleted {
		err = c.writeIndices(ctx, f)
	}
	return cp, err
}

// writeIndices writes a checkpoint's three entries at the same time. When one
// fails it still waits for the others: an entry that arrived after its removal
// would stay.
func (c *Collection) writeIndices(ctx context.Context, f fields) error {
	var writing errgroup.Group
	for _, key := range indexKeys(f) {
		writing.Go(func() error { return c.indices.PutText(ctx, key, f.id) })
	}
	return writing.Wait()
}

// undoTimeout bounds the removal of a checkpoint whose creation failed.
const undoTimeout = 30 * time.Second

// undoCreate removes a checkpoint that was written in part. It goes on when
// the caller has given up, since nobody else would. The indices go first: an
// entry without index.json is worse than index.json without an entry.
func (c *Collection) undoCreate(ctx context.Context, f fields) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	err := c.dropIndices(ctx, f)
	if e := c.checkpoints.Delete(ctx, indexPath(f.id)); e != nil && !errors.Is(e, bank.ErrNotFound) {
		err = join(err, e)
	}
	if err != nil {
		c.options.Log.WithError(err).WithField("checkpoint_id", f.id).
			Warn("creating a checkpoint failed and parts of it remain in the bank")
	}
}

// Get reads a checkpoint, deleted ones too. It fails with CheckpointNotFound
// when there is none, when it is another provider's, and for an id that leads
// elsewhere; with InvalidParameterValue for an id with characters that no key
// has; with BankGetObjectFailed, naming the key, when index.json is broken, its
// signature does not hold, or it cannot be read.
func (c *Collection) Get(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.get(ctx, id)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, fault.CheckpointNotFound(id).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	if cp.fields.provider != c.providerID && !c.options.AnyProvider {
		return nil, fault.CheckpointNotFound(id).
			WithCause(fmt.Errorf("checkpoint belongs to provider %s", cp.fields.provider))
	}
	return cp, nil
}

// invalidSection is what karbor-api's users read about such an id.
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
	text, err := c.checkpoints.GetBytes(ctx, indexPath(id))
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
	if err == nil && (f.provider == c.providerID || c.options.AnyProvider) { // others have keys of their own
		if err = c.options.Signing.verify(&d); err != nil {
			c.refused.Add(1)
		}
	}
	if err != nil {
		return d, f, c.broken(id, err)
	}
	return d, f, nil
}

// ErrBroken is in the chain of every error about the content of an index.json,
// which reading it again does not mend.
var ErrBroken = errors.New("index.json is broken")

// unusable tells whether err, of reading a checkpoint, is about that checkpoint and
// no other: whoever looks at many leaves it out and goes on.
func unusable(err error) bool {
	return errors.Is(err, ErrBroken) || errors.Is(err, errVersion) || errors.Is(err, bank.ErrUnusable)
}

// goOn returns nil in place of the error of a partial listing, which it reports.
func (c *Collection) goOn(err error) error {
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
	return c.checkpoints.PutJSON(ctx, indexPath(id), d.text())
}
