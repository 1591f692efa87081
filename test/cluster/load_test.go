// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/test/load"
)

const (
	// callTimeout is longer than any pause that the cluster's settings bring about.
	callTimeout   = time.Minute
	goCallers     = 8
	goPause       = 40 * time.Millisecond
	pythonCallers = 2
	pythonPause   = 50 * time.Millisecond
)

// traffic is a server, a Go client and a Python client under way.
type traffic struct {
	t       *testing.T
	topic   string
	ledger  *ledger
	clients []*tally
	halt    context.CancelFunc // ends the load
	work    sync.WaitGroup
}

// options are those of a deployment on a cluster. Heartbeats find connections to
// a node that has vanished without a word.
func options() rabbit.Options {
	o := rabbit.DefaultOptions()
	o.QuorumQueue, o.TransientQuorumQueue = true, true
	o.HeartbeatThreshold = 6
	return o
}

// logger writes to the test's output, each line with whose it is.
func logger(t *testing.T, whose string) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.WarnLevel)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: clock})
	return log.WithField("peer", whose)
}

func connect(t *testing.T, u *rpc.TransportURL, log logrus.FieldLogger) *rabbit.Transport {
	t.Helper()
	tr, err := rabbit.New(u, options(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tr
}

// newTraffic starts the server and then the load.
func newTraffic(t *testing.T, b *broker) *traffic {
	t.Helper()
	ctx, halt := context.WithCancel(context.Background())
	l := &traffic{t: t, topic: "cluster" + rpc.NewID()[:8], ledger: newLedger(), halt: halt}
	l.serve(b)
	goTally, pythonTally := newTally("go"), newTally("python")
	l.clients = []*tally{goTally, pythonTally}
	log := logger(t, "client")
	client := rpc.NewClient(connect(t, b.url, log), rpc.Target{Topic: l.topic}, rpc.ClientOptions{Timeout: callTimeout, Log: log})
	for i := range goCallers {
		caller := load.Caller{
			Client: client, Methods: []string{"enter"}, Prefix: "go-" + strconv.Itoa(i) + "-", Pause: goPause,
			Report: func(c load.Call) { l.note(c, goTally) },
		}
		l.work.Go(func() { caller.Run(ctx) })
	}
	l.work.Go(func() { l.castGo(ctx, client, goTally) })
	l.startPython(ctx, b.text, pythonTally)
	t.Cleanup(l.end)
	t.Cleanup(func() { // before the load ends
		if t.Failed() {
			l.testify()
		}
	})
	return l
}

// end stops the load and waits for what is under way.
func (l *traffic) end() {
	l.halt()
	l.work.Wait()
}

// serve enters every request in the ledger before it lets the broker forget it.
func (l *traffic) serve(b *broker) {
	l.t.Helper()
	enter := func(_ context.Context, r *rpc.Request) (any, error) {
		var id string
		if err := r.Unpack(rpc.Required("id", &id)); err != nil {
			return nil, err
		}
		l.ledger.enter(id)
		r.Accept()
		return id, nil
	}
	log := logger(l.t, "server")
	server, err := rpc.NewServer(connect(l.t, b.url, log), rpc.Target{Topic: l.topic, Server: "one"}, []rpc.Endpoint{{
		Methods: map[string]rpc.Method{"enter": {Handler: enter, Delivery: rpc.UntilAccepted}},
	}}, rpc.ServerOptions{Log: log})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Start(ctx); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			l.t.Errorf("Stop: %v", err)
		}
	})
}

// note enters a call of either client in its tally.
func (l *traffic) note(c load.Call, to *tally) {
	switch c.Error {
	case "":
		to.answer(c.ID, moment(c.Begun), moment(c.Ended))
	case load.WrongAnswer:
		l.t.Errorf("%s got the answer to another call", c.ID)
	default:
		to.fail(c.ID, c.Error, moment(c.Begun), moment(c.Ended))
	}
}

// castGo casts; a cast that returned without an error is with the broker.
func (l *traffic) castGo(ctx context.Context, client *rpc.Client, to *tally) {
	for n := 0; ctx.Err() == nil; n++ {
		id := "cast-" + strconv.Itoa(n)
		begun := time.Now()
		sending, cancel := context.WithTimeout(context.Background(), callTimeout)
		if err := client.Cast(sending, nil, "enter", map[string]any{"id": id}); err != nil {
			to.fail(id, err.Error(), begun, time.Now())
		} else {
			to.promise(id)
		}
		cancel()
		pause(ctx, goPause)
	}
}

// startPython runs the same load from oslo.messaging.
func (l *traffic) startPython(ctx context.Context, url string, to *tally) {
	l.t.Helper()
	cmd, err := load.Python{
		URL: url, Topic: l.topic, Prefix: "python-", Methods: []string{"enter"},
		Timeout: callTimeout, Callers: pythonCallers, Pause: pythonPause,
		Options: map[string]any{
			"rabbit_quorum_queue": true, "heartbeat_timeout_threshold": 6,
			// Later releases keep reply queues on all nodes too.
			"rabbit_transient_quorum_queue": true,
		},
	}.Command()
	if err != nil {
		l.t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	// The process ends, with the calls that are under way, when its input does.
	context.AfterFunc(ctx, func() { _ = in.Close() })
	l.work.Go(func() {
		l.readPython(out, to)
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("load.py: %v: %s", err, complaints.String())
		}
	})
}

func (l *traffic) readPython(out io.Reader, to *tally) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct {
			load.Call
			load.State
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			l.t.Errorf("load.py says %q: %v", lines.Text(), err)
		} else if line.State.State == "" {
			l.note(line.Call, to)
		}
	}
}

func moment(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
