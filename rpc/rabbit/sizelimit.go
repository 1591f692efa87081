// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// limitLasts is how long a limit is believed in: operators raise it while the
// connection lives.
const limitLasts = time.Minute

// sizeLimit is the largest message that the broker takes, as its refusals tell.
type sizeLimit struct {
	bytes int
	until time.Time
}

// tooLarge matches RabbitMQ's refusal of a message.
// rabbitmq-server: rabbit_channel check_msg_size/3
var tooLarge = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`)

// learn takes the broker's limit from its refusal of any message.
func (s *session) learn(err error) {
	var e *amqp.Error
	if !errors.As(err, &e) || e.Code != amqp.PreconditionFailed {
		return
	}
	if m := tooLarge.FindStringSubmatch(e.Reason); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			s.limit.Store(&sizeLimit{bytes: n, until: time.Now().Add(limitLasts)})
		}
	}
}

// fits refuses what the broker would: its refusal closes a channel on which others
// publish too.
func (s *session) fits(m *message) error {
	l := s.limit.Load()
	if l == nil || len(m.Body) <= l.bytes || time.Now().After(l.until) {
		return nil
	}
	return fmt.Errorf("%w: %w: it has %d bytes, and max_message_size of the broker is %d", rpc.ErrDelivery, rpc.ErrRefused, len(m.Body), l.bytes)
}
