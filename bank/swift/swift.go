// SPDX-License-Identifier: Apache-2.0

// Package swift is a bank in a container of OpenStack Swift. The name of an object is its whole
// key, including the first slash, and the metadata "serialized" keeps the flag.
package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// serialized is the header that holds the flag, with the values True and False.
//
// karbor: swift_bank_plugin.py _put_object, _get_object
const serialized = "X-Object-Meta-Serialized"

// store implements bank.Plugin.
type store struct {
	session   *session
	container string
	owner     string
	retries   int
	page      int
	log       logrus.FieldLogger

	// Downloads have slots of their own. A download keeps its slot while it waits for its reader,
	// which may be writing to the bank meanwhile: the two must not deadlock.
	requests, downloads slots
}

var _ bank.Plugin = (*store)(nil)

// New returns the bank of cfg. It sends nothing before the bank is used; the first write creates a
// missing container. A nil log discards.
func New(cfg Config, log logrus.FieldLogger) (bank.Plugin, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	log = telemetry.OrDiscard(log)
	return &store{
		session:   newSession(cfg, transport),
		container: cfg.Container,
		owner:     uuid.NewString(),
		retries:   cfg.RetryAttempts,
		page:      cfg.PageSize,
		log:       log,
		requests:  make(slots, cfg.MaxRequests),
		downloads: make(slots, cfg.MaxRequests),
	}, nil
}

// OwnerID implements bank.Plugin.
func (s *store) OwnerID() string { return s.owner }

// Close implements bank.Plugin.
func (s *store) Close() error {
	s.session.close()
	return nil
}

// Put implements bank.Plugin.
func (s *store) Put(ctx context.Context, key string, u bank.Upload) error {
	flag := "False"
	if u.Serialized {
		flag = "True"
	}
	header := map[string]string{serialized: flag}
	if u.New {
		header["If-None-Match"] = "*"
	}
	err := s.call(ctx, request{method: http.MethodPut, path: objectPath(s.container, key), header: header, body: &u}, true)
	if u.New && isStatus(err, http.StatusPreconditionFailed) {
		return fmt.Errorf("%w: %w", bank.ErrExists, err)
	}
	return err
}

// Disown implements bank.Plugin. Swift cannot revoke a request. A request that Swift received in
// part before the takeover has an older timestamp than all later ones, and loses against them. A
// request of which no byte was sent, by a process that was suspended at that moment, is the newest
// and wins.
func (s *store) Disown(context.Context, string) error { return nil }

// Delete implements bank.Plugin.
func (s *store) Delete(ctx context.Context, key string) error {
	err := s.call(ctx, request{method: http.MethodDelete, path: objectPath(s.container, key)}, false)
	return s.blame(ctx, err)
}

// blame turns a refusal into ErrUnusable, as bank.Plugin requires, if the container answers
// otherwise. Permissions usually apply to containers, so a caller that is refused one object is
// refused all. A server error (5xx) never concerns one object only: the server may have no working
// disk for any of them.
func (s *store) blame(ctx context.Context, err error) error {
	var status *statusError
	if !errors.As(err, &status) || errors.Is(err, bank.ErrNotFound) || status.again ||
		status.status == http.StatusUnauthorized || status.status >= 500 {
		return err
	}
	return s.unlessOutage(ctx, err)
}

// unlessOutage blames an object for an error if the container can be listed.
func (s *store) unlessOutage(ctx context.Context, err error) error {
	if _, _, listErr := s.listPage(ctx, bank.ListOptions{Prefix: "/"}, 1); listErr != nil {
		return err
	}
	return fmt.Errorf("%w: %w", bank.ErrUnusable, err)
}

// call sends a request whose response has no body. A request that creates an object also creates a
// missing container.
func (s *store) call(ctx context.Context, r request, creates bool) error {
	if err := s.requests.take(ctx); err != nil {
		return s.session.failed(r, err)
	}
	defer s.requests.put()
	res, err := s.session.do(ctx, r, s.retries)
	if creates && errors.Is(err, bank.ErrNotFound) {
		if err := s.session.makeContainer(ctx, s.container, s.retries); err != nil {
			return err
		}
		s.log.WithField("container", s.container).Info("made the container of the bank")
		res, err = s.session.do(ctx, r, s.retries)
	}
	if err != nil {
		return err
	}
	res.finish()
	return nil
}

// Get implements bank.Plugin.
func (s *store) Get(ctx context.Context, key string) (*bank.Object, error) {
	r := request{method: http.MethodGet, path: objectPath(s.container, key)}
	if err := s.downloads.take(ctx); err != nil {
		return nil, s.session.failed(r, err)
	}
	res, err := s.session.do(ctx, r, s.retries)
	if err != nil {
		s.downloads.put()
		return nil, s.blame(ctx, err)
	}
	body := newDownload(ctx, s, r, res)
	return &bank.Object{Body: body, Size: res.ContentLength, Serialized: flagOf(res.Header.Get(serialized)), Version: body.version()}, nil
}

func flagOf(header string) bank.Flag {
	switch strings.ToLower(header) {
	case "true":
		return bank.JSON
	case "":
		return bank.Unknown
	}
	return bank.Raw
}

// slots bounds the number of concurrent calls.
type slots chan struct{}

func (s slots) take(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s slots) put() { <-s }
