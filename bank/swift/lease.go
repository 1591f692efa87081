// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/karbor-project/karbor/bank"
)

// Names used by the original.
//
// karbor: swift_bank_plugin.py acquire_lease, renew_lease
const (
	leaseContainer = "leases"
	deleteAfter    = "X-Delete-After"
)

// leases implements bank.LeaseStore with the object leases/<owner>, which Swift deletes by itself.
type leases struct {
	session *session
}

var _ bank.LeaseStore = (*leases)(nil)

// NewLeaseStore returns the leases in the account of cfg. They have their own login and
// connections, which are closed after each request: renewals are minutes apart, and must not wait
// for data.
func NewLeaseStore(cfg Config) (bank.LeaseStore, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	transport.DisableKeepAlives = true
	return &leases{session: newSession(cfg, transport)}, nil
}

// Acquire implements bank.LeaseStore.
func (l *leases) Acquire(ctx context.Context, owner string, window time.Duration) error {
	r := l.request(http.MethodPut, owner)
	r.header = map[string]string{deleteAfter: wholeSeconds(window)}
	r.body = &bank.Upload{Open: bank.Bytes([]byte(owner)), Size: int64(len(owner))}
	err := l.send(ctx, r)
	if !errors.Is(err, bank.ErrNotFound) {
		return err
	}
	if err := l.session.makeContainer(ctx, leaseContainer, 0); err != nil {
		return err
	}
	return l.send(ctx, r)
}

// Renew implements bank.LeaseStore.
func (l *leases) Renew(ctx context.Context, owner string, window time.Duration) error {
	r := l.request(http.MethodPost, owner)
	r.header = map[string]string{deleteAfter: wholeSeconds(window)}
	return l.send(ctx, r)
}

// Held implements bank.LeaseStore.
func (l *leases) Held(ctx context.Context, owner string) (bool, error) {
	err := l.send(ctx, l.request(http.MethodHead, owner))
	if errors.Is(err, bank.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Release implements bank.LeaseStore.
func (l *leases) Release(ctx context.Context, owner string) error {
	err := l.send(ctx, l.request(http.MethodDelete, owner))
	if errors.Is(err, bank.ErrNotFound) {
		return nil
	}
	return err
}

func (l *leases) request(method, owner string) request {
	return request{method: method, path: containerPath(leaseContainer) + "/" + escape(owner)}
}

func (l *leases) send(ctx context.Context, r request) error {
	res, err := l.session.do(ctx, r, 0)
	if err != nil {
		return err
	}
	res.finish()
	return nil
}

// wholeSeconds rounds up, since Swift accepts no fractions and refuses 0.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
