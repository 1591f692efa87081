// SPDX-License-Identifier: Apache-2.0

package rpc

// Payload undoes content type, encoding, compression and envelope of a message;
// a bare payload passes as well. The result is a valid JSON object. An error means
// that the message must be rejected.
func (m *Incoming) Payload() ([]byte, error) { return m.payload() }

// Envelope makes the message body that carries a payload, which must be a JSON
// object in UTF-8.
func Envelope(payload []byte) []byte {
	return appendEnvelope(make([]byte, 0, len(payload)+len(payload)/4+64), payload)
}
