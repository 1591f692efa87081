// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/pkg/database"
)

// Limits of a journal, the same for all implementations.
const (
	MaxInput = 16 << 20 // bytes of Entry.Input
	MaxText  = 255      // bytes of an id, a key, a subject and the like
	MaxKey   = 400      // bytes of Mark.Key
	MaxValue = 4 << 20  // bytes of Mark.Value

	MaxReason = 65535 // bytes of Entry.Reason, which is cut
)

// storable reports whether every implementation keeps a text that identifies
// something as it is. One that does not fit is refused rather than changed:
// two might become one.
func storable(s string) bool {
	return len(s) <= MaxText && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// Readable returns at most limit bytes of a text for people, in a storable form.
func Readable(s string, limit int) string {
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

// CheckTexts refuses a text that identifies something and cannot be kept as it is.
// Each is a pair of its name and the text.
func CheckTexts(texts ...[2]string) error {
	for _, t := range texts {
		if !storable(t[1]) {
			return fmt.Errorf("%s of %d bytes: it must be UTF-8 of at most %d bytes without NUL", t[0], len(t[1]), MaxText)
		}
	}
	return nil
}

// Begun returns an entry as it begins; an error says why it cannot.
func (e Entry) Begun(now time.Time) (Entry, error) {
	if e.ID == "" {
		return Entry{}, errors.New("beginning operation: it has no id")
	}
	if err := CheckTexts([2]string{"id", e.ID}, [2]string{"key", e.Key}, [2]string{"kind", e.Kind},
		[2]string{"subject", e.Subject}, [2]string{"provider id", e.ProviderID}, [2]string{"checkpoint id", e.CheckpointID},
		[2]string{"plan id", e.PlanID}, [2]string{"project id", e.ProjectID}, [2]string{"record id", e.RecordID},
		[2]string{"owner", e.Owner}); err != nil {
		return Entry{}, fmt.Errorf("beginning operation: %w", err)
	}
	if len(e.Input) > MaxInput {
		return Entry{}, fmt.Errorf("beginning operation %s: input of %d bytes, at most %d are kept", e.ID, len(e.Input), MaxInput)
	}
	e.Input = kept(e.Input)
	e.Generation, e.State, e.Outcome, e.Reason, e.CancelledBy = 1, Queued, "", "", ""
	if e.CreatedAt.IsZero() {
		e.CreatedAt = now
	}
	e.CreatedAt, e.StartedAt, e.EndedAt = moment(e.CreatedAt), time.Time{}, time.Time{}
	return e, nil
}

// moment returns a time as the journal keeps it.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// CheckMarks refuses marks that are too large.
func CheckMarks(id string, marks []Mark) error {
	for _, m := range marks {
		if len(m.Key) > MaxKey {
			return tooLarge("writing to operation %s: key of %d bytes, at most %d are kept", id, len(m.Key), MaxKey)
		}
		if len(m.Value) > MaxValue {
			return tooLarge("writing to operation %s: mark %q of %d bytes, at most %d are kept", id, m.Key, len(m.Value), MaxValue)
		}
	}
	return nil
}

func tooLarge(format string, args ...any) error {
	return &database.RefusedError{Refusal: database.TooLarge, Err: fmt.Errorf(format, args...)}
}

// kept returns a copy of an input for a journal, since the caller may change its own bytes.
func kept(input json.RawMessage) json.RawMessage {
	if len(input) == 0 {
		return nil
	}
	return slices.Clip(slices.Clone(input))
}

// CheckEnd returns an error if End cannot store the outcome or the remaining state.
func CheckEnd(id string, o Outcome, left json.RawMessage) error {
	if len(left) > MaxInput {
		return tooLarge("ending operation %s: %d bytes are to be left, at most %d are kept", id, len(left), MaxInput)
	}
	switch o {
	case Succeeded, Failed, Cancelled:
		return nil
	}
	return fmt.Errorf("ending operation %s: %q is no outcome", id, o)
}

// CheckBy returns the name of the caller that cancels an entry, in the form that the entry
// keeps.
func CheckBy(id, by string) (string, error) {
	by = Readable(by, MaxText)
	if by == "" {
		return "", fmt.Errorf("cancelling operation %s: nobody asks for it", id)
	}
	return by, nil
}

// endedAs reports whether the entry has ended in this way by this claim.
func (e *Entry) endedAs(c Claim, o Outcome, reason string) bool {
	return e.State == Ended && e.Claim == c && e.Outcome == o && e.Reason == reason
}
