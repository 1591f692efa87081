// SPDX-License-Identifier: Apache-2.0

package rpc

// task is a request that has a worker's slot.
type task struct {
	message Incoming
	request *Request
	method  Method
	problem error // set when nothing serves the request
	job     *job  // of an UntilAccepted request
}

// hire has a task done by a goroutine that is idle, or by a new one. Goroutines
// stay for further tasks because a new one has to grow its stack first, which
// costs more than many a handler.
func (s *Server) hire(t task) {
	select {
	case s.idle <- t:
	default:
		go s.work(t)
	}
}

// work does tasks until the server stops or enough others are idle.
func (s *Server) work(t task) {
	for {
		s.perform(t)
		t = task{} // keep nothing while idle
		select {
		case s.rest <- struct{}{}:
		default:
			return
		}
		select {
		case t = <-s.idle:
			<-s.rest
		case <-s.soft.Done():
			<-s.rest
			return
		}
	}
}

// perform acknowledges an AtMostOnce request and serves it.
func (s *Server) perform(t task) {
	defer s.running.Done()
	if t.job == nil && !s.admit(t) {
		<-s.slots
		return
	}
	s.serve(t)
}

// admit reports whether an AtMostOnce request may run.
func (s *Server) admit(t task) bool {
	// A request whose acknowledgement fails comes again: it must not run now.
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
