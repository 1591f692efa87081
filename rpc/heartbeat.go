// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"time"
)

// beat sends a heartbeat each interval until ctx ends or one cannot be sent.
func (s *Server) beat(ctx context.Context, r *Request) {
	t := time.NewTicker(r.wire.heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// The ticker may have won against a call that is over.
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
