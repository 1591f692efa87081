// SPDX-License-Identifier: Apache-2.0

package history

import "strings"

// deed is a doing: its events before and after, if it came to the latter.
type deed struct {
	Event       // before, with what the event after adds to it
	ended int64 // 0: the process was killed in the midst
}

// worked tells that it is known to have worked; mayHaveWorked that nobody has
// refused it. A store may have done what it answered with an error, or what
// nobody waited for; what the fence has broken off it may have done as well, but
// that is not what the worker wanted.
func (d *deed) worked() bool        { return d.ended != 0 && d.Error == "" }
func (d *deed) mayHaveWorked() bool { return d.ended == 0 || d.Error == "" || !refusal(d.Error) }

// refusal tells an error that says that nothing was done.
func refusal(text string) bool {
	return strings.Contains(text, "not held") || strings.Contains(text, "not announced")
}

// deedsOf pairs the events of a history. They are in the order of their
// beginnings.
func deedsOf(events []Event) []*deed {
	type name struct {
		process string
		deed    int64
	}
	var deeds []*deed
	open := map[name]*deed{}
	for _, e := range events {
		key := name{e.Process, e.Deed}
		switch e.Phase {
		case Before:
			d := &deed{Event: e}
			open[key] = d
			deeds = append(deeds, d)
		case After:
			if d := open[key]; d != nil {
				d.ended, d.Error = e.At, e.Error
				d.Generation, d.Fresh = max(d.Generation, e.Generation), d.Fresh || e.Fresh
				if e.Operation != "" {
					d.Operation = e.Operation
				}
			}
		default:
			deeds = append(deeds, &deed{Event: e, ended: e.At})
		}
	}
	return deeds
}

// of selects deeds.
func of(deeds []*deed, what ...string) []*deed {
	var chosen []*deed
	for _, d := range deeds {
		for _, w := range what {
			if d.What == w {
				chosen = append(chosen, d)
			}
		}
	}
	return chosen
}
