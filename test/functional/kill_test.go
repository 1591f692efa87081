// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
)

// TestRandomKills kills workers at random moments of a mixed load, and stops them
// if KARBOR_TEST_KILLS asks for a long run: one worker, two, and three. Whatever
// was accepted ends as it should, once, and nothing is left behind.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL")
	for workers, count := range kills(t, 9) {
		t.Run(fmt.Sprintf("workers=%d", workers+1), func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, inFolder, noop)
			tr.massacre(newMob(tr, something), workers+1, count)
		})
	}
}

// TestRandomKillsInTheCloud does the same with images of a real Glance and a
// bank in a real Swift.
func TestRandomKillsInTheCloud(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	counts := [3]int{0, 0, 3}
	if os.Getenv("KARBOR_TEST_KILLS") != "" {
		counts = kills(t, 0)
	}
	for workers, count := range counts {
		if count == 0 {
			continue
		}
		t.Run(fmt.Sprintf("workers=%d", workers+1), func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, inSwift, image)
			source := tr.user.upload(mib / 4)
			tr.massacre(newMob(tr, func() resource.Resource { return source }), workers+1, count)
		})
	}
}

// kills shares KARBOR_TEST_KILLS, or count without it, out among one, two and
// three workers.
func kills(t testing.TB, count int) (shares [3]int) {
	t.Helper()
	if text := os.Getenv("KARBOR_TEST_KILLS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("KARBOR_TEST_KILLS: %v", err)
		}
	}
	for i := range shares {
		shares[i] = (count + i) / len(shares)
	}
	return shares
}

// massacre kills some of n workers while a mob keeps them busy, and in a long run
// stops others until they are taken for dead: count times in all.
func (tr *trial) massacre(m *mob, n, count int) {
	t := tr.t
	t.Helper()
	var workers []*worker
	for i := range n {
		w := tr.begin([]string{"one", "two", "three"}[i])
		w.ready()
		workers = append(workers, w)
	}
	m.api.client = m.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 10 * time.Second })
	end := m.start(4)
	stops, long := 0, os.Getenv("KARBOR_TEST_KILLS") != ""
	for i := range count {
		// Some work between two kills, rather than some time.
		before, enough := tr.begun(), rand.IntN(6)
		await(t, "work that begins", func() (bool, any) { n := tr.begun() - before; return n > enough, n })
		victim := rand.IntN(n)
		if long && i%4 == 2 {
			stops++
			tr.stopFor(workers[victim])
			continue
		}
		workers[victim].kill()
		workers[victim] = tr.begin(workers[victim].host)
		if i%3 == 0 { // sometimes it is killed again before it serves
			workers[victim].ready()
		}
	}
	end()
	for _, w := range workers {
		w.serving()
	}
	tr.rest(workers...)
	tr.judge(fmt.Sprintf("%d workers, %d kills", n, count-stops))
	t.Logf("%d workers: %d kills and %d stops, %d operations asked for, %d accepted, %d begun, %d changed hands", n, count-stops, stops,
		len(tr.requests), m.accepted(), tr.begun(), tr.db.count("SELECT COUNT(*) FROM protection_operations WHERE generation > 1"))
}

func (tr *trial) begun() int {
	tr.t.Helper()
	return tr.db.count("SELECT COUNT(*) FROM protection_operations")
}

// stopFor stops a worker for as long as others need to take it for dead and to
// take over what they can. It wakes up with what it had in hand.
func (tr *trial) stopFor(w *worker) {
	tr.t.Helper()
	w.serving()
	w.signal(syscall.SIGSTOP)
	defer w.signal(syscall.SIGCONT)
	await(tr.t, "worker "+w.host+" to be taken for dead", func() (bool, any) {
		n := tr.db.count("SELECT COUNT(*) FROM protection_owners WHERE host = '" + w.host + "' AND live_until > UNIX_TIMESTAMP(NOW(6)) * 1000000")
		return n == 0, n
	})
	if len(tr.hosts) == 1 {
		return
	}
	// A worker that was stopped in the midst of a transaction keeps the database
	// from giving its operation away, until it wakes up: others get the time to
	// look a few times, by the clock of the database.
	others := "SELECT COALESCE(MAX(announced_at), 0) FROM protection_owners WHERE host <> '" + w.host + "'"
	since := tr.db.count(others)
	await(tr.t, "the operations of worker "+w.host+" to be taken over", func() (bool, any) {
		left := tr.db.count("SELECT COUNT(*) FROM protection_operations o JOIN protection_owners w ON w.id = o.owner WHERE w.host = '" +
			w.host + "' AND o.state <> 'ended'")
		return left == 0 || tr.db.count(others) > since+looks, left
	})
}

// looks is the time of a few looks at the journal, in microseconds.
const looks = 6_000_000
