// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
)

// ListOptions select checkpoints and order them.
type ListOptions struct {
	ProjectID  string // whose checkpoints; without meaning with AllTenants
	AllTenants bool

	PlanID string // "": of any plan
	// StartDate and EndDate, YYYY-MM-DD in UTC, bound the day of creation,
	// both included. Without an end it is today; an end alone bounds nothing.
	StartDate, EndDate string

	Marker     string // id after which the listing begins, of a checkpoint of the project
	Limit      int    // 0: no limit
	Descending bool   // newest first
}

// List returns the checkpoints that o selects, ordered by the second of their
// creation and then by id. The marker need not be selected itself.
//
// Entries whose index.json is missing, broken, unusable, deleted or another
// provider's are passed over, and so are those that the checkpoint would not have by
// its index.json, of another project or plan, and places of the index that cannot be
// listed; what is wrong is logged. A bank that is away is an error. It fails with
// CheckpointNotFound for a marker that is unknown or of another project, InvalidInput
// for a date that is none, and the bank's own errors.
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

// Each calls visit with each checkpoint of List, in its order, and holds only those that
// it reads at a time. An error of visit ends it, and is returned.
func (c *Collection) Each(ctx context.Context, o ListOptions, visit func(*Checkpoint) error) error {
	days, err := parseRange(o, c.options.Clock)
	if err != nil {
		return err
	}
	entries, err := c.entries(ctx, o)
	if err != nil {
		return err
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
			return err
		}
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !days.mayHold(e) })
	exact := o.PlanID == "" && days == nil
	return c.load(ctx, entries, o.Limit, exact, days, visit)
}

// entries lists the index that fits o best. The original looks for dates in
// by-date, which mixes all providers and tenants; by-provider holds the same
// checkpoints sorted out.
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
	if err := c.goOn(err); err != nil {
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

// after cuts off what does not come after the marker. A deleted checkpoint,
// which has no entry any more, is still a marker.
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
		return nil, fault.CheckpointNotFound(o.Marker) // who lists need not know that there is one
	}
	marker := entry{timestamp: cp.fields.timestamp, id: cp.id}
	return slices.DeleteFunc(entries, func(e entry) bool {
		return marker.before(e) == o.Descending
	}), nil
}

// load reads the checkpoints of entries until limit of them were visited. When the
// entries are exact, no more is read than the listing needs.
func (c *Collection) load(ctx context.Context, entries []entry, limit int, exact bool, days *dayRange, visit func(*Checkpoint) error) error {
	for visited := 0; len(entries) > 0 && (limit <= 0 || visited < limit); {
		batch := batchReads * c.options.MaxReads
		if limit > 0 {
			needed := limit - visited
			if !exact {
				needed = max(needed, c.options.MaxReads)
			}
			batch = min(batch, needed)
		}
		batch = min(batch, len(entries))
		found, err := c.read(ctx, entries[:batch])
		if err != nil {
			return err
		}
		entries = entries[batch:]
		for _, cp := range found {
			if cp == nil || !days.holds(cp.fields.createdAt) || limit > 0 && visited == limit {
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

// batchReads is how many checkpoints are held at a time, for each that is read at a time:
// enough that a slow one keeps the others from nothing.
const batchReads = 4

// read reads the checkpoints of entries, in their order, nil where there is
// none to list.
func (c *Collection) read(ctx context.Context, entries []entry) ([]*Checkpoint, error) {
	found := make([]*Checkpoint, len(entries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.MaxReads)
	for i, e := range entries {
		group.Go(func() error {
			cp, err := c.Get(ctx, e.id)
			switch {
			case err == nil:
				switch {
				case cp.fields.status == Deleted:
				case !slices.Contains(indexKeys(cp.fields), e.key):
					c.options.Log.WithField("checkpoint_id", e.id).Warnf("left out of the listing: index entry %s is not one that the checkpoint has", e.key)
				default:
					found[i] = cp
				}
				return nil
			case fault.Is(err, "CheckpointNotFound"):
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

// dayRange bounds days, both ends included. nil holds every day.
type dayRange struct{ first, last time.Time }

// dateLayout takes what Python's %Y-%m-%d takes, months and days of one digit
// too.
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

// mayHold judges by the key alone. Where that has no date its time tells the
// day, with a day of grace: the original reads the clock twice, for the date
// and for the timestamp, so that these may disagree around midnight.
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
