// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/pkg/database"
)

// What fits into a journal, the same for all implementations.
const (
	MaxInput = 16 << 20 // bytes of Entry.Input
	MaxText  = 255      // bytes of an id, a key, a subject and the like
	MaxKey   = 400      // bytes of Mark.Key
	MaxValue = 4 << 20  // bytes of Mark.Value

	maxReason = 65535
)

// storable tells whether every implementation keeps a text that identifies
// something as it is. One that does not fit is refused rather than changed:
// two might become one.
func storable(s string) bool {
	return len(s) <= MaxText && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// readable makes a text for people storable, at most limit bytes of it.
func readable(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "")
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func checkTexts(texts ...[2]string) error {
	for _, t := range texts {
		if !storable(t[1]) {
			return fmt.Errorf("%s of %d bytes: it must be UTF-8 of at most %d bytes without NUL", t[0], len(t[1]), MaxText)
		}
	}
	return nil
}

// begun is an entry as it begins, or says why it cannot.
func begun(e Entry, now time.Time) (Entry, error) {
	if e.ID == "" {
		return Entry{}, errors.New("begin operation: it has no id")
	}
	if err := checkTexts([2]string{"id", e.ID}, [2]string{"key", e.Key}, [2]string{"kind", e.Kind},
		[2]string{"subject", e.Subject}, [2]string{"provider id", e.ProviderID}, [2]string{"checkpoint id", e.CheckpointID},
		[2]string{"plan id", e.PlanID}, [2]string{"project id", e.ProjectID}, [2]string{"record id", e.RecordID},
		[2]string{"owner", e.Owner}); err != nil {
		return Entry{}, fmt.Errorf("begin operation: %w", err)
	}
	if len(e.Input) > MaxInput {
		return Entry{}, fmt.Errorf("begin operation %s: input of %d bytes, at most %d are kept", e.ID, len(e.Input), MaxInput)
	}
	e.Input = kept(e.Input)
	e.Generation, e.State, e.Outcome, e.Reason, e.CancelledBy = 1, Queued, "", "", ""
	if e.CreatedAt.IsZero() {
		e.CreatedAt = now
	}
	e.CreatedAt, e.StartedAt, e.EndedAt = moment(e.CreatedAt), time.Time{}, time.Time{}
	return e, nil
}

// moment is a time as the journal keeps it.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func checkMarks(id string, marks []Mark) error {
	for _, m := range marks {
		if len(m.Key) > MaxKey {
			return tooLarge("write to operation %s: key of %d bytes, at most %d are kept", id, len(m.Key), MaxKey)
		}
		if len(m.Value) > MaxValue {
			return tooLarge("write to operation %s: mark %q of %d bytes, at most %d are kept", id, m.Key, len(m.Value), MaxValue)
		}
	}
	return nil
}

func tooLarge(format string, args ...any) error {
	return &database.RefusedError{Refusal: database.TooLarge, Err: fmt.Errorf(format, args...)}
}

// kept is an input as journals keep it: the caller's bytes are the caller's.
func kept(input json.RawMessage) json.RawMessage {
	if len(input) == 0 {
		return nil
	}
	return slices.Clip(slices.Clone(input))
}

func checkEnd(id string, o Outcome, left json.RawMessage) error {
	if len(left) > MaxInput {
		return tooLarge("end operation %s: %d bytes are to be left, at most %d are kept", id, len(left), MaxInput)
	}
	switch o {
	case Succeeded, Failed, Cancelled:
		return nil
	}
	return fmt.Errorf("end operation %s: %q is no outcome", id, o)
}

// checkBy returns who asks for the end of an entry, as it is kept.
func checkBy(id, by string) (string, error) {
	by = readable(by, MaxText)
	if by == "" {
		return "", fmt.Errorf("cancel operation %s: nobody asks for it", id)
	}
	return by, nil
}

// newestFirst orders listings.
func newestFirst(a, b Entry) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

func (f *Filter) matches(e *Entry) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(f.ProjectID, e.ProjectID) && same(f.ProviderID, e.ProviderID) && same(f.CheckpointID, e.CheckpointID) &&
		same(f.Owner, e.Owner) && same(f.Kind, e.Kind) &&
		(!f.Unfinished || e.State != Ended) && (!f.Cancelling || e.CancelledBy != "")
}

func (e *Entry) endedAs(c Claim, o Outcome, reason string) bool {
	return e.State == Ended && e.Claim == c && e.Outcome == o && e.Reason == reason
}
