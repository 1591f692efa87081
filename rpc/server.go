// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// DefaultWorkers is the number of requests that a server works on at a time.
// oslo.messaging: [DEFAULT] executor_thread_pool_size
const DefaultWorkers = 64

const (
	// defaultWindow is how many unique ids a server remembers; Python remembers 16.
	defaultWindow = 4096
	// minPendingReplies is the minimum bound on replies being sent: twice the number
	// that may wait for the queues of vanished clients.
	minPendingReplies = 2 * maxLate
	// minUnpacking is the minimum bound on compressed requests that have not begun.
	minUnpacking = 64
	// defaultGrace is how long cancelled handlers may take to return.
	defaultGrace = 5 * time.Second
)

// ErrStopped is the cause with which a hard stop cancels the contexts of handlers.
var ErrStopped = errors.New("rpc server is stopped")

// ErrAbandoned is the cause with which the context of a handler ends when the
// caller no longer waits for the answer.
var ErrAbandoned = errors.New("the caller no longer waits")

// ServerOptions tune a server; the zero value is ready for use.
type ServerOptions struct {
	// Workers bounds the requests worked on at a time; 0 means DefaultWorkers.
	Workers int
	// Ping serves oslo.messaging's oslo_rpc_server_ping.
	Ping bool
	// Middleware wraps every handler, the first one outermost.
	Middleware []Middleware
	// Failure chooses the failure that a caller sees for an error that names no Python
	// class (a [*PanicError] among them), and can log such an error. Nil logs it and
	// sends a RuntimeError with its text.
	Failure func(ctx context.Context, req *Request, err error) *Failure
	// IgnoreDeadline lets handlers run on after their caller has given up. Without
	// it the context of an AtMostOnce method's handler ends at Request.Deadline with
	// the cause ErrAbandoned. An UntilAccepted method starts work that outlives the
	// call, so its context never does; a handler that wants to end with its caller
	// derives a context from Request.Deadline itself.
	IgnoreDeadline bool
	// AnyReplyQueue lets callers name any queue for the answer. Without it the name
	// must begin with "reply_", as in oslo.messaging: otherwise a caller could have
	// messages put into the queues of other services.
	AnyReplyQueue bool
	// MaxDecompressed bounds the decompressed size of a request; 0 means
	// DefaultMaxDecompressed.
	MaxDecompressed int
	// Window is the number of unique ids that are remembered; 0 means 4096. The minimum
	// is 16, which Python remembers.
	Window int
	// Grace is how long Stop waits for handlers after it has cancelled their
	// contexts; 0 means 5 s.
	Grace time.Duration
	Log   logrus.FieldLogger
}

// Server receives requests of one target and executes them.
type Server struct {
	transport  Transport
	target     Target
	dispatcher *Dispatcher
	options    ServerOptions
	log        logrus.FieldLogger

	slots     chan struct{} // one token for each running handler
	unpacking chan struct{} // one token for each compressed message that has not begun
	replying  chan struct{} // one token for each reply on its way
	tasks     chan task     // takes work when a goroutine is idle
	idleSlots chan struct{} // one token for each idle goroutine
	recent    *recent
	running   sync.WaitGroup

	// Three contexts end one after the other when the server stops.
	receiving      context.Context // of receiving; ends when Stop begins
	stopReceiving  context.CancelFunc
	handlers       context.Context // of handlers; ends with a hard stop
	cancelHandlers context.CancelCauseFunc
	sending        context.Context // of replies; ends when Stop waits no longer
	stopSending    context.CancelFunc

	mu       sync.Mutex
	starting chan struct{} // closed when Start has ended
	listener Listener      // valid when starting is closed
	started  bool
	stopped  bool
	finished chan struct{} // closed when Stop has ended
	stopErr  error
}

// NewServer returns a server of the target, which must name topic and server. Requests
// go to the first of the endpoints that serves them.
func NewServer(t Transport, target Target, endpoints []Endpoint, o ServerOptions) (*Server, error) {
	if err := target.checkServer(); err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.MaxDecompressed == 0 {
		o.MaxDecompressed = DefaultMaxDecompressed
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Ping {
		endpoints = append(append([]Endpoint(nil), endpoints...), pingEndpoint())
	}
	dispatcher, err := NewDispatcher(endpoints, o.Middleware...)
	if err != nil {
		return nil, err
	}
	s := &Server{
		transport: t, target: target, dispatcher: dispatcher, options: o,
		log:       OrDiscard(o.Log).WithField("target", target.String()),
		slots:     make(chan struct{}, o.Workers),
		unpacking: make(chan struct{}, max(minUnpacking, o.Workers)),
		replying:  make(chan struct{}, max(minPendingReplies, 4*o.Workers)),
		tasks:     make(chan task),
		idleSlots: make(chan struct{}, o.Workers),
		recent:    newRecent(o.Window),
		starting:  make(chan struct{}),
		finished:  make(chan struct{}),
	}
	s.receiving, s.stopReceiving = context.WithCancel(context.Background())
	s.handlers, s.cancelHandlers = context.WithCancelCause(context.Background())
	s.sending, s.stopSending = context.WithCancel(context.Background())
	return s, nil
}

// Start begins to receive and returns when requests can arrive. While the broker
// is unreachable it waits, with growing pauses, until ctx ends. A problem that no
// retry can solve, such as refused credentials or a queue with other properties, is an
// error at once. A start that fails undoes its work; Stop then waits for requests that
// had begun. A server starts once.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	again, stopped := s.started, s.stopped
	s.started = s.started || !stopped
	s.mu.Unlock()
	switch {
	case again:
		return errors.New("rpc: server has been started before")
	case stopped:
		return fmt.Errorf("listening on %s: %w", s.target, ErrStopped)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.receiving, func() { cancel(ErrStopped) })()
	// Requests that arrived before the start was cancelled go back to the broker, so that
	// none waits for a worker while the transport undoes the start.
	cancelled := context.AfterFunc(ctx, s.stopReceiving)
	defer close(s.starting)
	o := ListenOptions{Concurrency: s.options.Workers}
	l, err := s.transport.Listen(ctx, s.target, o, s.receive)
	inTime := cancelled()
	if err == nil && !inTime {
		// The context ended too late for the transport to notice.
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), s.options.Grace)
		defer done()
		err = errors.Join(ctx.Err(), l.Close(closing))
	}
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrStopped) {
			err = errors.Join(cause, err)
		}
		return fmt.Errorf("listening on %s: %w", s.target, err)
	}
	s.listener = l
	return nil
}

// Cancel stops receiving: requests that have not started go back to the broker for
// other servers, and running handlers go on. It returns when no further request will
// start. After an error it may be called again. Stop is still needed. Cancel
// corresponds to oslo.messaging's stop, and the rest of Stop to its wait.
func (s *Server) Cancel(ctx context.Context) error {
	s.stopReceiving()
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-s.starting:
	default:
		select {
		case <-s.starting: // soon: the start has been cancelled
		case <-ctx.Done():
			return fmt.Errorf("stopping %s while it starts: %w", s.target, ctx.Err())
		}
	}
	if s.listener == nil {
		return nil
	}
	return s.listener.Cancel(ctx)
}

// Stop ends the server softly: it cancels, running handlers finish and their replies are
// sent. When ctx ends first, the contexts of the handlers are cancelled with the
// cause ErrStopped and after the grace time Stop returns the error of ctx. Stop
// is idempotent; a second call waits for the first.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	first, started := !s.stopped, s.started
	s.stopped = true
	s.mu.Unlock()
	if !first {
		select {
		case <-s.finished:
			return s.stopErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(s.finished)
	s.stopReceiving()
	if started {
		s.stopErr = s.stop(ctx)
	}
	s.cancelHandlers(ErrStopped)
	s.stopSending()
	return s.stopErr
}

// stop ends a server whose start has begun.
func (s *Server) stop(ctx context.Context) error {
	cancelErr := s.Cancel(ctx)
	select {
	case <-s.starting:
	default:
		return cancelErr
	}
	idle := make(chan struct{})
	go func() {
		s.running.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("stopping %s with %d handlers running: %w", s.target, len(s.slots), ctx.Err())
		s.cancelHandlers(ErrStopped)
		grace := time.NewTimer(s.options.Grace)
		defer grace.Stop()
		select {
		case <-idle:
		case <-grace.C:
		}
	}
	if s.listener == nil { // the start has failed
		return err
	}
	// The listener gets its own time limit, because ctx may have ended.
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), s.options.Grace)
	defer done()
	return errors.Join(err, cancelErr, s.listener.Close(closing))
}

// OrDiscard returns log, or a logger that discards everything if log is nil.
func OrDiscard(log logrus.FieldLogger) logrus.FieldLogger {
	if log != nil {
		return log
	}
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.PanicLevel)
	return l
}
