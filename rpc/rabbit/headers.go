// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	amqp "github.com/rabbitmq/amqp091-go"
)

// textHeaders are the headers of a delivery that callers may have set: those of
// text, without the transport's own. Most messages have none.
func textHeaders(table amqp.Table) map[string]string {
	var headers map[string]string
	for name, value := range table {
		text, ok := value.(string)
		if !ok || name == compressionHeader {
			continue
		}
		if headers == nil {
			headers = make(map[string]string, len(table))
		}
		headers[name] = text
	}
	return headers
}

// addHeaders sets a caller's headers; the transport's own win.
func (m *message) addHeaders(headers map[string]string) {
	for name, value := range headers {
		if m.Headers == nil {
			m.Headers = make(amqp.Table, len(headers))
		}
		if _, own := m.Headers[name]; !own {
			m.Headers[name] = value
		}
	}
}
