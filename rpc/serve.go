// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// PanicError is a panic of a handler on its way to becoming a failure.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// receive takes one message through the pipeline: decode, resolve, wait for a
// worker, acknowledge, drop repetitions, run. Its blocking is the back-pressure
// on the broker. oslo.messaging: amqpdriver.py AMQPListener, rpc/server.py
func (s *Server) receive(m Incoming) {
	payload, err := m.payload()
	var r *Request
	if err == nil {
		r, err = decodeRequest(payload)
	}
	if err != nil {
		s.log.WithError(err).Error("rejected a message that is no request")
		s.settle(m.Reject(false))
		return
	}
	r.Redelivered, r.Headers = m.Redelivered, m.Headers
	r.expire(m.Expiration, time.Now())
	select {
	case <-s.soft.Done():
		s.settle(m.Reject(true))
		return
	default:
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.soft.Done():
		s.settle(m.Reject(true))
		return
	}
	s.running.Add(1)
	if !s.begin(m, r) {
		<-s.slots
		s.running.Done()
	}
}

// begin starts the request and reports whether it now owns the worker's slot.
func (s *Server) begin(m Incoming, r *Request) bool {
	method, err := s.dispatcher.Resolve(r)
	if err != nil || method.Delivery == AtMostOnce {
		// It is acknowledged by the worker: workers that begin together share one
		// acknowledgement.
		s.hire(task{message: m, request: r, method: method, problem: err})
		return true
	}
	job, fresh := s.recent.begin(r.UniqueID)
	if !fresh {
		s.repeat(m, r, job)
		return false
	}
	job.hold(m, s.settle)
	r.accept = job.accept
	s.hire(task{message: m, request: r, method: method, job: job})
	return true
}

// repeat answers a request that has been seen before: when its first execution
// has ended with the same answer, else not, because that one is still to answer.
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

// serve runs a request and answers it. problem is set when nothing serves it.
func (s *Server) serve(r *Request, method Method, problem error, job *job) {
	o, requeue := s.execute(r, method, problem, job)
	if requeue {
		s.recent.forget(r.UniqueID)
		job.giveBack()
		<-s.slots
		return
	}
	if job != nil {
		s.recent.finish(job, o)
	}
	if !r.WantsReply {
		<-s.slots
		return
	}
	// The worker is free before the reply has left, which may take a minute when
	// the client is gone.
	s.replying <- struct{}{}
	<-s.slots
	s.reply(r, o)
}

// execute runs the handler under heartbeats. requeue says that a hard stop came
// before an UntilAccepted handler had accepted.
func (s *Server) execute(r *Request, method Method, problem error, job *job) (o outcome, requeue bool) {
	if problem != nil {
		s.log.WithField("method", r.Method).WithError(problem).Warn("request is not served here")
		return s.failed(r, problem), false
	}
	ctx, cancel := s.handling(r, method)
	defer cancel()
	stop := s.heartbeat(ctx, r)
	result, err := call(ctx, method.Handler, r)
	stop()
	if err != nil {
		stopping := errors.Is(context.Cause(s.hard), ErrStopped)
		if stopping && job != nil && !job.accepted() {
			return o, true
		}
		return s.failed(r, err), false
	}
	if !r.WantsReply || result == nil {
		return o, false
	}
	if text, ok := result.(Encoded); ok {
		o.result = text
		return o, false
	}
	if o.result, err = encodeResult(result); err != nil {
		err = fmt.Errorf("encoding the result of %s: %w", r.Method, err)
		return s.failed(r, err), false
	}
	return o, false
}

// handling is the context of one handler.
func (s *Server) handling(r *Request, method Method) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() || s.options.IgnoreDeadline || method.Delivery != AtMostOnce {
		return context.WithCancel(s.hard)
	}
	return context.WithDeadlineCause(s.hard, r.Deadline, ErrAbandoned)
}

func call(ctx context.Context, h Handler, r *Request) (result any, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(ctx, r)
}

func (s *Server) failed(r *Request, err error) outcome {
	f := failureOf(err, func(err error) *Failure {
		if s.options.Failure != nil {
			return s.options.Failure(s.hard, r, err)
		}
		log := s.log.WithField("method", r.Method).WithError(err)
		var p *PanicError
		if errors.As(err, &p) {
			log = log.WithField("stack", string(p.Stack))
		}
		log.Error("request failed")
		return nil
	})
	return outcome{failure: f.encode()}
}

// reply sends the one final answer and gives its token back.
func (s *Server) reply(r *Request, o outcome) {
	defer func() { <-s.replying }()
	if r.wire.replyQ == "" {
		// No queue has that name, so there is nothing to wait for.
		s.log.WithField("method", r.Method).Warn("reply dropped: the call names no reply queue")
		return
	}
	err := s.transport.Reply(s.sending, r.wire.replyQ, func() []byte {
		return encodeReply(r.wire.msgID, o, true)
	})
	if err != nil {
		s.log.WithFields(map[string]any{"method": r.Method, "reply_queue": r.wire.replyQ}).
			WithError(err).Warn("reply could not be delivered")
	}
}

// settle notes that an acknowledgement failed; the broker delivers again.
func (s *Server) settle(err error) {
	if err != nil {
		s.log.WithError(err).Debug("message could not be settled, it will be delivered again")
	}
}

// heartbeat tells a caller that monitors its call that the handler is alive. The
// returned function ends that and waits, so that nothing follows the reply.
// oslo.messaging: rpc/server.py, incoming.heartbeat
func (s *Server) heartbeat(ctx context.Context, r *Request) (stop func()) {
	if !r.WantsReply || r.wire.replyQ == "" || r.wire.heartbeat == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { s.beat(ctx, r) })
	return func() {
		cancel()
		beating.Wait()
	}
}
