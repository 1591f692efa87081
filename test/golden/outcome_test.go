// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

// outcome is all that is seen of a call, as text by aspect. Two outcomes of one
// call are equal if they differ in ids, times and tracebacks only.
type outcome map[string]string

// The aspects.
const (
	aspectCount         = "count"          // of replies
	aspectProperties    = "properties"     // of the replies' messages
	aspectReply         = "reply"          // the failure, or the result; of a listing with ids, these in their order
	aspectMembers       = "members"        // of such a listing, each by its id
	aspectBank          = "bank"           // objects of the checkpoints concerned
	aspectOperationLogs = "operation_logs" // rows
	aspectRestores      = "restores"
	aspectVerifications = "verifications"
)

// difference describes how outcomes differ; "" means that they do not.
func difference(want, got outcome) string {
	want, got = maps.Clone(want), maps.Clone(got)
	want[aspectMembers], got[aspectMembers] = common(want[aspectMembers], got[aspectMembers])
	aspects := maps.Clone(want)
	maps.Copy(aspects, got)
	var text strings.Builder
	for _, aspect := range slices.Sorted(maps.Keys(aspects)) {
		if want[aspect] != got[aspect] {
			fmt.Fprintf(&text, "%s\n- %s\n+ %s\n", aspect,
				strings.ReplaceAll(want[aspect], "\n", "\n- "), strings.ReplaceAll(got[aspect], "\n", "\n+ "))
		}
	}
	return text.String()
}

// common leaves the members that both listings have: which these are, is another
// aspect. A checkpoint without a graph shows an empty one with us, because the
// clients of karbor-api parse it in any case.
func common(a, b string) (string, string) {
	keep := func(lines, others string) string {
		var kept []string
		for _, line := range strings.Split(lines, "\n") {
			id, _, _ := strings.Cut(line, ",")
			if line != "" && strings.Contains(others, id+",") {
				kept = append(kept, strings.Replace(line, `"resource_graph":null`, `"resource_graph":"[{}, []]"`, 1))
			}
		}
		return strings.Join(kept, "\n")
	}
	return keep(a, b), keep(b, a)
}

// observed is what a call led to, before normalisation.
type observed struct {
	Properties    []properties
	Replies       []*reply
	Bank          objects
	OperationLogs []row
	Restores      []row
	Verifications []row
}

// outcome describes what was observed. What was not recorded is nil and left
// out. known is everything that the call could know, so that an id from there
// is no new one.
func (o *observed) outcome(t *testing.T, known string) outcome {
	t.Helper()
	all := outcome{aspectCount: fmt.Sprint(len(o.Replies))}
	scrub := newScrubber(known)
	for i, r := range o.Replies {
		properties, err := json.Marshal(o.Properties[i])
		if err != nil {
			t.Fatal(err)
		}
		all[aspectProperties] += string(properties) + "\n"
		all[aspectReply] += describeReply(t, r, scrub) + "\n"
		if members := describeMembers(r.Result, scrub); members != "" {
			all[aspectMembers] += members
		}
	}
	if o.Bank != nil {
		var lines []string
		for key, text := range o.Bank {
			lines = append(lines, scrub.text(key)+" = "+scrub.text(text))
		}
		slices.Sort(lines)
		all[aspectBank] = strings.Join(lines, "\n")
	}
	for aspect, rows := range map[string][]row{aspectOperationLogs: o.OperationLogs,
		aspectRestores: o.Restores, aspectVerifications: o.Verifications} {
		if rows != nil {
			all[aspect] = describeRows(t, rows, scrub)
		}
	}
	return all
}

// describeReply is the failure without its traceback, or the result. The inner
// message has exactly the members of reply, which openReply has checked.
func describeReply(t *testing.T, r *reply, scrub *scrubber) string {
	t.Helper()
	if !r.Ending || r.UniqueID == "" || r.MsgID == "" {
		return fmt.Sprintf("not a last reply: %+v", *r)
	}
	if f := r.failure(t); f != nil {
		if string(r.Result) != "null" {
			return "a failure with a result: " + string(r.Result)
		}
		args, _ := json.Marshal(f.Args)
		kwargs, _ := json.Marshal(f.Kwargs)
		if len(f.Args) == 1 && f.Args[0] == f.Message {
			args = []byte("[message]")
		}
		return scrub.text(fmt.Sprintf("%s.%s: %s\nargs %s kwargs %s", f.Module, f.Class, f.Message, args, kwargs))
	}
	if ids, _ := listing(r.Result); ids != nil {
		return scrub.text(strings.Join(ids, "\n"))
	}
	return scrub.json(r.Result)
}

func describeMembers(result json.RawMessage, scrub *scrubber) string {
	ids, members := listing(result)
	var text strings.Builder
	for _, id := range slices.Sorted(slices.Values(ids)) {
		fmt.Fprintf(&text, "%s\n", scrub.json(members[id]))
	}
	return text.String()
}

// listing takes a list of objects with ids apart.
func listing(result json.RawMessage) (ids []string, members map[string]json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(result, &list) != nil || len(list) == 0 {
		return nil, nil
	}
	members = map[string]json.RawMessage{}
	for _, one := range list {
		var named struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(one, &named) != nil || named.ID == "" {
			return nil, nil
		}
		ids = append(ids, named.ID)
		members[named.ID] = one
	}
	return ids, members
}

// describeRows is one line a row. Time columns say whether there is a time.
func describeRows(t *testing.T, rows []row, scrub *scrubber) string {
	t.Helper()
	lines := []string{}
	for _, r := range rows {
		var line strings.Builder
		for _, column := range slices.Sorted(maps.Keys(r)) {
			value := r[column]
			switch {
			case column == "id":
				continue
			case value == nil:
				value = "NULL"
			case strings.HasSuffix(column, "_at"):
				value = "<time>"
			case column == "deleted":
				value = 0
			case strings.HasPrefix(column, "resources_"):
				value = sortedObject(t, fmt.Sprint(value))
			}
			fmt.Fprintf(&line, "%s=%v ", column, value)
		}
		lines = append(lines, scrub.text(strings.TrimSpace(line.String())))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func sortedObject(t *testing.T, text string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	sorted, _ := json.Marshal(members)
	return string(sorted)
}

// scrubber replaces ids that the call has made, times, and the order of a
// graph's roots, which was that of a set.
type scrubber struct{ known string }

func newScrubber(known string) *scrubber { return &scrubber{known} }

var (
	anUUID  = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	aDate   = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`)
	aSecond = regexp.MustCompile(`\b1\d{9}\b`)
	anOwner = regexp.MustCompile(`("owner_id": ")[^"]*`)
	aGraph  = regexp.MustCompile(`"resource_graph": ?("(?:[^"\\]|\\.)*")`)
)

func (s *scrubber) text(text string) string {
	text = aGraph.ReplaceAllStringFunc(text, func(match string) string {
		quoted := aGraph.FindStringSubmatch(match)[1]
		return strings.Replace(match, quoted, sortedGraph(quoted), 1)
	})
	text = anOwner.ReplaceAllString(text, `$1<owner>`)
	text = aDate.ReplaceAllString(text, "<date>")
	text = aSecond.ReplaceAllString(text, "<second>")
	return anUUID.ReplaceAllStringFunc(text, func(id string) string {
		if strings.Contains(s.known, id) {
			return id
		}
		return "<new>"
	})
}

// json keeps the order of members: the recording's own.
func (s *scrubber) json(value json.RawMessage) string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return "not JSON: " + string(value)
	}
	return s.text(compact.String())
}

// sortedGraph orders the roots of a packed graph, given and returned as a JSON
// string.
func sortedGraph(quoted string) string {
	var packed string
	if json.Unmarshal([]byte(quoted), &packed) != nil {
		return quoted
	}
	graph, err := resource.Unpack(packed)
	if err != nil {
		return quoted
	}
	slices.SortFunc(graph.Roots, func(a, b *resource.Node) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	sorted, err := resource.Pack(graph)
	if err != nil {
		return quoted
	}
	text, err := json.Marshal(sorted)
	if err != nil {
		return quoted
	}
	return string(text)
}
