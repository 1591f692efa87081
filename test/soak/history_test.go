// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/test/load"
)

// remembered is how many requests lie, at the least, between two executions of a
// request by one process: those that it remembers, and some that were executed
// out of order.
const remembered = 4096 - 256

// execution is a line of the servers' histories: one request that reached a
// handler.
type execution struct {
	what     string // a method that reads; "run" or "again" for work
	who      string // the process
	count    uint64 // of its requests so far
	uniqueID string
	id       string
}

func readExecutions(r io.Reader) (all []execution, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 5 {
			return nil, fmt.Errorf("line %d of a history of executions: %q", len(all)+1, lines.Text())
		}
		count, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d of a history of executions: %w", len(all)+1, err)
		}
		all = append(all, execution{f[0], f[1], count, f[3], f[4]})
	}
	return all, lines.Err()
}

func readCalls(r io.Reader) (all []load.Call, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var c load.Call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("line %d of a history of calls: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	return all, lines.Err()
}

// client is what one client has recorded.
type client struct {
	name  string
	sent  []int // by each caller; the ids of each count from 1
	calls []load.Call
}

// account is how the calls of a client ended.
type account struct {
	sent, answered, timedOut int
	raised                   map[string]int // errors, by name
	longest                  float64        // seconds
}

func (a account) String() string {
	raised := 0
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a.raised)) {
		raised += a.raised[name]
		names = append(names, fmt.Sprintf("%s %d", name, a.raised[name]))
	}
	return fmt.Sprintf("%d sent = %d answered + %d timed out + %d raised at publishing (%s); the longest took %.1f s",
		a.sent, a.answered, a.timedOut, raised, strings.Join(names, ", "), a.longest)
}

// account holds the client to one end for each call.
func (c client) account() (a account, wrong []string) {
	a.raised = map[string]int{}
	ends := map[string]int{}
	for _, call := range c.calls {
		ends[call.ID]++
		a.longest = max(a.longest, call.Ended-call.Begun)
		switch call.Error {
		case "":
			a.answered++
		case load.Timeout:
			a.timedOut++
		case load.WrongAnswer:
			wrong = append(wrong, c.name+": "+call.ID+" got the answer to another call")
		default:
			a.raised[call.Error]++
		}
	}
	for caller, sent := range c.sent {
		a.sent += sent
		for n := range sent {
			id := fmt.Sprintf("%s%d-%d", c.name, caller, n+1)
			if ends[id] != 1 {
				wrong = append(wrong, fmt.Sprintf("%s: %s ended %d times", c.name, id, ends[id]))
			}
			delete(ends, id)
		}
	}
	for id := range ends {
		wrong = append(wrong, c.name+": "+id+" ended and was never sent")
	}
	return a, wrong
}

// deeds is what the servers have executed.
type deeds struct {
	runs, reads map[string]int // by id: work that was new, and reading
	again       int            // work that had been started by a process that is gone, or the other one
	twice       int            // reads by both processes
	beyond      int            // by one process again, but long after
}

// examine holds each process to executing no request again that it must remember,
// and all of them to starting no work twice.
func examine(all []execution) (d deeds, wrong []string) {
	d = deeds{runs: map[string]int{}, reads: map[string]int{}}
	last := map[[2]string]uint64{}
	unique := map[string]int{}
	for _, e := range all {
		who := [2]string{e.who, e.uniqueID}
		if before, ok := last[who]; ok {
			if max(e.count, before)-min(e.count, before) < remembered {
				wrong = append(wrong, fmt.Sprintf("%s was given to the handler again by %s, as requests %d and %d (%s)", e.id, e.who, before, e.count, e.what))
			} else {
				d.beyond++
			}
		}
		last[who] = e.count
		switch e.what {
		case "run":
			d.runs[e.id]++
			unique[e.uniqueID]++
		case "again":
			d.again++
		default:
			if d.reads[e.id]++; d.reads[e.id] == 2 {
				d.twice++
			}
		}
	}
	for id, n := range d.runs {
		if n != 1 {
			wrong = append(wrong, fmt.Sprintf("work %s was started %d times", id, n))
		}
	}
	for id, n := range unique {
		if n != 1 {
			wrong = append(wrong, fmt.Sprintf("unique id %s was started %d times", id, n))
		}
	}
	return d, wrong
}

// compare finds answers to what was never executed.
func (d deeds) compare(c client) (wrong []string) {
	for _, call := range c.calls {
		done := d.reads
		if call.Method == "start" {
			done = d.runs
		}
		if call.Error == "" && done[call.ID] == 0 {
			wrong = append(wrong, c.name+": "+call.ID+" ("+call.Method+") was answered and not executed")
		}
	}
	return wrong
}
