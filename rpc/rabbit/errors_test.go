// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The texts are those of RabbitMQ 3.10 and 4.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code    int
		text    string
		refused bool
		lasting bool
		hint    string // of a refused login
	}{
		{403, "username or password not allowed", true, true, "password"},
		{403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", true, true, "password"},
		{403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'", true, true, ""},
		{530, "NOT_ALLOWED - vhost v not found", true, true, "add_vhost"},
		{530, "NOT_ALLOWED - access to vhost '/' refused for user 'u'", true, true, "set_permissions"},
		{530, "NOT_ALLOWED - access to vhost '/' refused for user 'limit'", true, true, "set_permissions"},
		{530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (0) is reached", false, false, ""},
		{530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': vhost connection limit (7) is reached", false, false, ""},
		{530, "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached", false, false, ""},
		{530, "NOT_ALLOWED - connection refused: node connection limit (100) is reached", false, false, ""},
		{530, "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (5)", false, false, ""},
		{406, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (2) is reached", false, false, ""},
		{406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/'", false, true, ""},
		{541, "INTERNAL_ERROR - access to vhost '/' refused for user 'u': vhost '/' is down", false, false, ""},
		{320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", false, false, ""},
	} {
		err := fmt.Errorf("connecting: %w", errors.Join(errors.New("connection refused"), &amqp.Error{Code: c.code, Reason: c.text}))
		if refused(err) != c.refused || permanent(err) != c.lasting {
			t.Errorf("%d %s: refused %v, lasting %v", c.code, c.text, refused(err), permanent(err))
		}
		if c.hint != "" && !strings.Contains(explainLogin(err).Error(), c.hint) {
			t.Errorf("%d %s: told %v", c.code, c.text, explainLogin(err))
		}
	}
	// Credentials that are good for one host are good.
	mixed := errors.Join(&amqp.Error{Code: 403, Reason: "no"}, &amqp.Error{Code: 530, Reason: "user connection limit (1) is reached"})
	if refused(mixed) {
		t.Error("a full host is no refusal")
	}
}
