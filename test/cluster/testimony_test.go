// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// questions are what each node is asked when something was waited for in vain.
var questions = []string{
	"list_queues name type state messages_ready messages_unacknowledged consumers leader online",
	"list_consumers queue_name channel_pid consumer_tag prefetch_count active activity_status",
	"list_channels pid connection number consumer_count messages_unacknowledged messages_unconfirmed acks_uncommitted",
	"list_connections pid name state channels",
}

// testify writes down who waits for what: every goroutine here, and the queues and
// channels as each node sees them. A stall that comes once in many runs must not
// go without a trace.
func testify(t *testing.T) {
	_ = pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	for _, name := range strings.Fields(os.Getenv("KARBOR_TEST_CLUSTER")) {
		for _, question := range questions {
			t.Logf("%s: %s", name, ask(append([]string{"exec", name, "rabbitmqctl", "-q"}, strings.Fields(question)...)))
		}
		t.Logf("%s: its log:\n%s", name, ask([]string{"logs", "--tail", "150", name}))
	}
}

func ask(arguments []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", arguments...).CombinedOutput()
	if err != nil {
		out = append(out, err.Error()...)
	}
	return strings.Join(arguments, " ") + "\n" + string(out)
}

// testify tells of each request that is under way or was given up of late whether
// it was lost on its way to the server or the answer on its way back.
func (l *traffic) testify() {
	for _, c := range l.clients {
		l.t.Log(c)
		for _, id := range c.underWay() {
			l.t.Logf("%s is under way: %s", id, l.ledger.fate(id))
		}
		for _, failure := range c.failures() {
			id, _, _ := strings.Cut(failure, " ")
			l.t.Logf("%s: %s", failure, l.ledger.fate(id))
		}
	}
}
