// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// refused reports whether the broker has refused the login or the virtual host
// permanently.
func refused(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && (e.Code == amqp.AccessRefused || e.Code == amqp.NotAllowed) && !full(err)
}

// full reports whether the broker has refused a request because a limit is reached,
// which passes when others leave: connections and channels of a user, connections and
// queues of a virtual host, connections of a node. The broker gives such refusals the
// codes of lasting ones. rabbitmq-server: rabbit_reader, rabbit_channel,
// rabbit_queue_type
func full(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && limitReached.MatchString(err.Error())
}

var limitReached = regexp.MustCompile(`limit .*is reached|has reached the maximum allowed`)

// ofCode reports whether the broker has closed a channel or connection with that
// reply code.
func ofCode(err error, code int) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == code
}

// transientFeature is RabbitMQ's name for queues that are neither durable nor
// exclusive; 4.3 and later refuse them. rabbitmq-server: rabbit_deprecated_features
const transientFeature = "transient_nonexcl_queues"

// permanent reports whether a declaration fails for a reason that only a change of the
// configuration removes.
func permanent(err error) bool {
	if full(err) {
		return false
	}
	if refused(err) || ofCode(err, amqp.PreconditionFailed) || ofCode(err, amqp.NotImplemented) || ofCode(err, amqp.CommandInvalid) {
		return true
	}
	return err != nil && strings.Contains(err.Error(), transientFeature)
}

// refuses reports whether the broker has closed a channel because of a message, which
// may be any unconfirmed message on that channel.
func refuses(err error) bool { return permanent(err) || ofCode(err, amqp.NotFound) }

// explainLogin adds to a refused login what has to be changed.
func explainLogin(err error) error {
	switch text := err.Error(); {
	case ofCode(err, amqp.AccessRefused):
		return fmt.Errorf("%w (check user and password in transport_url, and rabbit_login_method)", err)
	case strings.Contains(text, "not found"):
		return fmt.Errorf("%w (the broker has no such virtual host: correct the end of transport_url or create it with rabbitmqctl add_vhost)", err)
	default:
		return fmt.Errorf("%w (give the user access to the virtual host with rabbitmqctl set_permissions)", err)
	}
}

// explain adds the relevant option to a refusal of the broker.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), transientFeature):
		return fmt.Errorf("%w (this broker takes no transient queues: set rabbit_transient_quorum_queue = true and "+
			"amqp_durable_queues or rabbit_quorum_queue = true in [oslo_messaging_rabbit], here and in all peers)", err)
	case ofCode(err, amqp.PreconditionFailed):
		return fmt.Errorf("%w (peers have declared it with other properties: amqp_durable_queues, amqp_auto_delete, "+
			"rabbit_quorum_queue and its limits, rabbit_ha_queues, rabbit_transient_quorum_queue, rabbit_stream_fanout and "+
			"rabbit_transient_queues_ttl of [oslo_messaging_rabbit] must be the same everywhere)", err)
	}
	return err
}
