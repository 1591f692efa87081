// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"strings"
	"testing"

	"github.com/karbor-project/karbor/test/load"
)

// TestJudges shows that each judge sees what it is there for.
func TestJudges(t *testing.T) {
	t.Parallel()
	calls := func(text string) []load.Call {
		all, err := readCalls(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	answered := `{"id":"c0-1","method":"start"}` + "\n" + `{"id":"c0-2","method":"read"}` + "\n"
	executed := "run one 1 u1 c0-1\nread one 2 u2 c0-2\n"
	for _, c := range []struct {
		name           string
		sent           int
		calls, history string
		want           string // in the only complaint; empty: none
	}{
		{"all is well", 2, answered, executed, ""},
		{"timeouts and errors are ends", 3, answered + `{"id":"c0-3","error":"timeout"}`, executed, ""},
		{"a call without an end", 3, answered, executed, "c0-3 ended 0 times"},
		{"a call with two", 2, answered + `{"id":"c0-2","method":"read"}`, executed, "c0-2 ended 2 times"},
		{"an unknown call", 1, answered, executed, "never sent"},
		{"another's answer", 3, answered + `{"id":"c0-3","error":"another answer"}`, executed, "answer to another call"},
		{"answered work that is not there", 2, answered, "read one 2 u2 c0-2\n", "c0-1 (start) was answered and not executed"},
		{"an answered read that is not there", 2, answered, "run one 2 u1 c0-1\n", "c0-2 (read) was answered and not executed"},
		{"work started twice", 2, answered, executed + "run two 1 u9 c0-1\n", "c0-1 was started 2 times"},
		{"a request started under two ids", 2, answered, executed + "run two 1 u1 c0-9\n", "u1 was started 2 times"},
		{"a request again in one process", 2, answered, executed + "again one 3 u1 c0-1\n", "again by one"},
		{"a read again in one process", 2, answered, executed + "read one 3 u2 c0-2\n", "again by one"},
		{"a request again in another process", 2, answered, executed + "again two 3 u1 c0-1\nread two 4 u2 c0-2\n", ""},
		{"a request again after long", 2, answered, executed + "again one 9000 u1 c0-1\n", ""},
	} {
		executions, err := readExecutions(strings.NewReader(c.history))
		if err != nil {
			t.Fatal(err)
		}
		who := client{name: "c", sent: []int{c.sent}, calls: calls(c.calls)}
		_, wrong := who.account()
		d, more := examine(executions)
		wrong = append(append(wrong, more...), d.compare(who)...)
		switch {
		case c.want == "" && len(wrong) > 0:
			t.Errorf("%s: %q", c.name, wrong)
		case c.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.want)):
			t.Errorf("%s: %q, want one with %q", c.name, wrong, c.want)
		}
	}
}
