// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// receive handles one message: decode, wait for a worker, resolve, acknowledge, drop
// repetitions, run. It blocks while all workers are busy, which is the back-pressure on
// the broker. oslo.messaging: amqpdriver.py AMQPListener, rpc/server.py
func (s *Server) receive(m Incoming) {
	if m.Arrived.IsZero() {
		m.Arrived = time.Now()
	}
	if !m.isCompressed() {
		s.process(m)
		return
	}
	// Decompressing a few bytes can take seconds. Other requests do not wait for it.
	select {
	case s.unpacking <- struct{}{}:
	case <-s.receiving.Done():
		s.settle(m.Reject(true))
		return
	}
	s.running.Go(func() {
		defer func() { <-s.unpacking }()
		s.process(m)
	})
}

// process decodes a message and begins its request once a slot is free.
func (s *Server) process(m Incoming) {
	r, err := s.decode(m)
	if err != nil {
		s.log.WithError(err).Error("rejected a message that is no request")
		s.settle(m.Reject(false))
		return
	}
	select {
	case <-s.receiving.Done():
		s.settle(m.Reject(true))
		return
	default:
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.receiving.Done():
		s.settle(m.Reject(true))
		return
	}
	s.running.Add(1)
	if !s.begin(m, r) {
		<-s.slots
		s.running.Done()
	}
}

// decode decodes a request. An error means that the message must be rejected.
func (s *Server) decode(m Incoming) (*Request, error) {
	payload, finite, err := m.open(s.options.MaxDecompressed)
	if err != nil {
		return nil, err
	}
	r, err := decodeRequest(payload)
	if err != nil {
		return nil, err
	}
	if !finite {
		// The caller is known and can be told.
		if !r.WantsReply {
			return nil, errNotFinite
		}
		r.wire.reject("ValueError", errNotFinite.Error())
	}
	if !s.options.AnyReplyQueue {
		if err := r.checkReplyQueue(); err != nil {
			return nil, err
		}
	}
	r.Redelivered, r.Headers = m.Redelivered, m.Headers
	r.expire(m.Expiration, m.Arrived)
	return r, nil
}

// begin starts the request and reports whether it now owns the worker's slot.
func (s *Server) begin(m Incoming, r *Request) bool {
	method, err := s.dispatcher.Resolve(r)
	if err != nil || method.Delivery == AtMostOnce {
		// The worker acknowledges the request: workers that begin together share one
		// acknowledgement.
		s.dispatch(task{message: m, request: r, method: method, problem: err})
		return true
	}
	if s.abandoned(r) {
		s.settle(m.Ack())
		return false
	}
	job, fresh := s.recent.begin(r.UniqueID)
	if !fresh {
		s.repeat(m, r, job)
		return false
	}
	job.addDelivery(m, s.settle)
	r.accept = job.accept
	s.dispatch(task{message: m, request: r, method: method, job: job})
	return true
}

// abandoned reports whether the caller gave up while the request waited for a worker.
// Such a request does not run, just as if it had expired in the broker.
func (s *Server) abandoned(r *Request) bool {
	if r.Deadline.IsZero() || s.options.IgnoreDeadline || time.Now().Before(r.Deadline) {
		return false
	}
	s.log.WithField("method", r.Method).Warn("request did not run: its caller had given up")
	return true
}

// repeat answers a request that has been seen before: if the first execution has ended,
// with the same answer; otherwise not at all, because the first execution will answer.
func (s *Server) repeat(m Incoming, r *Request, job *job) {
	o, done := job.join(m, s.settle)
	log := s.log.WithField("unique_id", r.UniqueID)
	if !done || !r.WantsReply {
		log.Debug("joined a repeated request to its first execution")
		return
	}
	log.Debug("answered a repeated request from memory")
	s.running.Add(1)
	s.replying <- struct{}{}
	go func() {
		defer s.running.Done()
		s.reply(r, o)
	}()
}

// serve runs a request and sends its answer.
func (s *Server) serve(t task) {
	returned := false
	defer func() {
		if !returned { // by runtime.Goexit, which nothing stops
			s.logFailure(t.request, errGoexit)
			s.finish(t, outcome{failure: runtimeError(errGoexit).encode()}, false)
		}
	}()
	o, requeue := s.execute(t)
	returned = true
	s.finish(t, o, requeue)
}

// finish releases the worker's slot and sends the answer.
func (s *Server) finish(t task, o outcome, requeue bool) {
	if requeue {
		s.recent.forget(t.job)
		t.job.requeue()
		<-s.slots
		return
	}
	if t.job != nil {
		s.recent.finish(t.job, o)
	}
	if !t.request.WantsReply {
		<-s.slots
		return
	}
	// The worker is released before the reply is sent, which may take a minute when the
	// client is gone.
	s.replying <- struct{}{}
	<-s.slots
	s.reply(t.request, o)
}

// execute runs the handler. requeue reports that a hard stop came before an
// UntilAccepted handler had accepted.
func (s *Server) execute(t task) (o outcome, requeue bool) {
	r := t.request
	if t.problem != nil {
		s.log.WithField("method", r.Method).WithError(t.problem).Warn("request is not served here")
		return s.failed(r, t.problem), false
	}
	result, err := s.call(t)
	if err != nil {
		stopping := errors.Is(context.Cause(s.handlers), ErrStopped)
		if stopping && t.job != nil && !t.job.accepted() {
			return o, true
		}
		return s.failed(r, err), false
	}
	if !r.WantsReply || result == nil {
		return o, false
	}
	if o.result, err = encodeResult(result); err != nil {
		err = fmt.Errorf("encoding the result of %s: %w", r.Method, err)
		return s.failed(r, err), false
	}
	return o, false
}

// call runs the handler while heartbeats are sent.
func (s *Server) call(t task) (result any, err error) {
	ctx, cancel := s.handlerContext(t.request, t.method)
	defer cancel()
	defer s.heartbeat(ctx, t.request)()
	err = Guard(func() (err error) {
		result, err = t.method.Handler(ctx, t.request)
		return err
	})
	return result, err
}

// handlerContext returns the context of one handler.
func (s *Server) handlerContext(r *Request, method Method) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() || s.options.IgnoreDeadline || method.Delivery != AtMostOnce {
		return context.WithCancel(s.handlers)
	}
	return context.WithDeadlineCause(s.handlers, r.Deadline, ErrAbandoned)
}

// failed returns the answer to a request that ended with an error.
func (s *Server) failed(r *Request, err error) outcome {
	f, broken := failureOf(err)
	if broken != nil {
		err = broken
	}
	if f == nil {
		f = s.chosenFailure(r, err)
	}
	if f == nil {
		f = runtimeError(err)
	}
	return outcome{failure: f.encode()}
}

// chosenFailure calls ServerOptions.Failure for an error that names no Python class.
func (s *Server) chosenFailure(r *Request, err error) (f *Failure) {
	if s.options.Failure == nil {
		s.logFailure(r, err)
		return nil
	}
	broken := Guard(func() error {
		f = s.options.Failure(s.handlers, r, err)
		return nil
	})
	if broken != nil {
		s.logFailure(r, err)
		s.logFailure(r, fmt.Errorf("choosing the failure for the caller: %w", broken))
		return nil
	}
	return f
}

func (s *Server) logFailure(r *Request, err error) {
	log := s.log.WithField("method", r.Method).WithError(err)
	var p *PanicError
	if errors.As(err, &p) {
		log = log.WithField("stack", string(p.Stack))
	}
	log.Error("request failed")
}

// reply sends the only final answer and returns its token.
func (s *Server) reply(r *Request, o outcome) {
	defer func() { <-s.replying }()
	if r.wire.replyQ == "" {
		// No queue has that name, so there is nothing to wait for.
		s.log.WithField("method", r.Method).Warn("reply dropped: the call names no reply queue")
		return
	}
	err := s.send(r, o)
	if errors.Is(err, ErrRefused) {
		// The caller receives the reason instead of waiting in vain.
		err = s.send(r, s.failed(r, fmt.Errorf("sending the answer of %s: %w", r.Method, err)))
	}
	if err != nil {
		s.log.WithFields(map[string]any{"method": r.Method, "reply_queue": r.wire.replyQ}).
			WithError(err).Warn("reply could not be delivered")
	}
}

func (s *Server) send(r *Request, o outcome) error {
	return s.transport.Reply(s.sending, r.wire.replyQ, func() []byte {
		return encodeReply(r.wire.msgID, o, true)
	})
}

// settle logs that an acknowledgement failed; the broker then delivers the message
// again.
func (s *Server) settle(err error) {
	if err != nil {
		s.log.WithError(err).Debug("message could not be settled, it will be delivered again")
	}
}

// heartbeat sends heartbeats to a caller that monitors its call. The returned function
// ends the heartbeats and waits, so that none follows the reply.
// oslo.messaging: rpc/server.py, incoming.heartbeat
func (s *Server) heartbeat(ctx context.Context, r *Request) (stop func()) {
	if !r.WantsReply || r.wire.replyQ == "" || r.wire.heartbeat == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { s.sendHeartbeats(ctx, r) })
	return func() {
		cancel()
		beating.Wait()
	}
}

// task is a request that has a worker's slot.
type task struct {
	message Incoming
	request *Request
	method  Method
	problem error // set when nothing serves the request
	job     *job  // of an UntilAccepted request
}

// dispatch hands a task to an idle goroutine, or to a new one. Goroutines are reused
// because a new one has to grow its stack first, which costs more than many handlers.
func (s *Server) dispatch(t task) {
	select {
	case s.tasks <- t:
	default:
		go s.work(t)
	}
}

// work runs tasks until the server stops or enough other goroutines are idle.
func (s *Server) work(t task) {
	for {
		s.runTask(t)
		t = task{} // keep nothing while idle
		select {
		case s.idleSlots <- struct{}{}:
		default:
			return
		}
		select {
		case t = <-s.tasks:
			<-s.idleSlots
		case <-s.receiving.Done():
			<-s.idleSlots
			return
		}
	}
}

// runTask acknowledges an AtMostOnce request and serves it.
func (s *Server) runTask(t task) {
	defer s.running.Done()
	if t.job == nil && !s.admit(t) {
		<-s.slots
		return
	}
	s.serve(t)
}

// admit reports whether an AtMostOnce request may run.
func (s *Server) admit(t task) bool {
	// A request whose acknowledgement fails is delivered again, so it must not run now.
	if err := t.message.Ack(); err != nil {
		s.log.WithError(err).Warn("left a request that could not be acknowledged")
		return false
	}
	if s.abandoned(t.request) {
		return false
	}
	if !s.recent.add(t.request.UniqueID) {
		s.log.WithField("unique_id", t.request.UniqueID).Debug("dropped a repeated request")
		return false
	}
	return true
}

// sendHeartbeats sends a heartbeat each interval until ctx ends or one cannot be sent.
func (s *Server) sendHeartbeats(ctx context.Context, r *Request) {
	t := time.NewTicker(r.wire.heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// The ticker may have fired although the call is over.
		if ctx.Err() != nil {
			return
		}
		err := s.transport.Reply(ctx, r.wire.replyQ, func() []byte {
			return encodeReply(r.wire.msgID, outcome{}, false)
		})
		if err != nil {
			if ctx.Err() == nil {
				s.log.WithField("method", r.Method).WithError(err).Warn("stopped the heartbeats of a call")
			}
			return
		}
	}
}
