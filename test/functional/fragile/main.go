// SPDX-License-Identifier: Apache-2.0

// Command fragile is the service with failpoints: before and after each write to
// the journal, to the database and to the bank, each call to a service, each
// acknowledgement and each reply. It dies there as by SIGKILL.
//
//	FRAGILE_LOG=FILE   append the name of each point that is passed
//	FRAGILE_AT=NAME:N  die at the Nth passing of a point
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/rpc"
)

func main() {
	setup := service.Builtin()
	setup.Banks = fragileBanks(setup.Banks)
	setup.Wrap = service.Wrap{
		Transport: func(t rpc.Transport) rpc.Transport { return transport{t} },
		Journal:   func(j journal.Journal) journal.Journal { return entries{j} },
		Records:   func(r operation.Records) operation.Records { return records{r} },
		HTTP:      func(t http.RoundTripper) http.RoundTripper { return calls{t} },
	}
	os.Exit(service.Main("fragile", os.Args[1:], setup, os.Stdout, os.Stderr))
}

// points counts how often each failpoint was passed.
var points = struct {
	mu     sync.Mutex
	passed map[string]int
}{passed: map[string]int{}}

// pass passes a failpoint, or dies there.
func pass(name string) {
	points.mu.Lock()
	defer points.mu.Unlock()
	points.passed[name]++
	if path := os.Getenv("FRAGILE_LOG"); path != "" {
		if f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, name)
			_ = f.Close()
		}
	}
	at, n, ok := strings.Cut(os.Getenv("FRAGILE_AT"), ":")
	if count, err := strconv.Atoi(n); ok && err == nil && at == name && count == points.passed[name] {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// around passes the points before and after something.
func around[T any](name string, do func() (T, error)) (T, error) {
	pass(name + ".before")
	result, err := do()
	pass(name + ".after")
	return result, err
}

func aroundError(name string, do func() error) error {
	_, err := around(name, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

type entries struct{ journal.Journal }

func (e entries) Begin(ctx context.Context, entry journal.Entry) (kept journal.Entry, fresh bool, err error) {
	err = aroundError("journal.begin", func() error {
		kept, fresh, err = e.Journal.Begin(ctx, entry)
		return err
	})
	return kept, fresh, err
}

func (e entries) Start(ctx context.Context, id string, c journal.Claim) error {
	return aroundError("journal.start", func() error { return e.Journal.Start(ctx, id, c) })
}

func (e entries) Write(ctx context.Context, id string, c journal.Claim, marks ...journal.Mark) error {
	return aroundError("journal.write", func() error { return e.Journal.Write(ctx, id, c, marks...) })
}

func (e entries) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string) error {
	return aroundError("journal.end", func() error { return e.Journal.End(ctx, id, c, o, reason) })
}

type records struct{ operation.Records }

func (r records) CreateOperationLog(ctx context.Context, row *database.OperationLog) (string, error) {
	return around("log.create", func() (string, error) { return r.Records.CreateOperationLog(ctx, row) })
}

func (r records) UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error {
	return aroundError("log.update", func() error { return r.Records.UpdateOperationLog(ctx, id, u) })
}

func (r records) CreateRestore(ctx context.Context, row *database.Record) (string, error) {
	return around("record.create", func() (string, error) { return r.Records.CreateRestore(ctx, row) })
}

func (r records) UpdateRestore(ctx context.Context, id string, u database.RecordUpdate) error {
	return aroundError("record.update", func() error { return r.Records.UpdateRestore(ctx, id, u) })
}

func (r records) CreateVerification(ctx context.Context, row *database.Record) (string, error) {
	return around("record.create", func() (string, error) { return r.Records.CreateVerification(ctx, row) })
}

func (r records) UpdateVerification(ctx context.Context, id string, u database.RecordUpdate) error {
	return aroundError("record.update", func() error { return r.Records.UpdateVerification(ctx, id, u) })
}

type calls struct{ http.RoundTripper }

func (c calls) RoundTrip(req *http.Request) (*http.Response, error) {
	return around("call."+strings.ToLower(req.Method), func() (*http.Response, error) { return c.RoundTripper.RoundTrip(req) })
}

type transport struct{ rpc.Transport }

func (t transport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (rpc.Listener, error) {
	return t.Transport.Listen(ctx, target, o, func(m rpc.Incoming) {
		m.Acknowledger = acks{m.Acknowledger}
		receive(m)
	})
}

func (t transport) Reply(ctx context.Context, queue string, body func() []byte) error {
	return aroundError("reply", func() error { return t.Transport.Reply(ctx, queue, body) })
}

type acks struct{ rpc.Acknowledger }

func (a acks) Ack() error { return aroundError("ack", a.Acknowledger.Ack) }

// fragileBanks are the same banks with failpoints.
func fragileBanks(from *providers.BankRegistry) *providers.BankRegistry {
	to := &providers.BankRegistry{}
	for _, entry := range from.Entries() {
		to.Register(entry.Names, entry.Options, func(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
			plugin, lease, err := entry.Build(cfg, log)
			if err == nil {
				plugin = objects{plugin}
			}
			return plugin, lease, err
		})
	}
	return to
}

type objects struct{ bank.Plugin }

func (o objects) Put(ctx context.Context, key string, u bank.Upload) error {
	return aroundError("bank.put", func() error { return o.Plugin.Put(ctx, key, u) })
}

func (o objects) Delete(ctx context.Context, key string) error {
	return aroundError("bank.delete", func() error { return o.Plugin.Delete(ctx, key) })
}
