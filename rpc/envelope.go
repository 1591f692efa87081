// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// Incoming is one message as received from the broker. It must be acknowledged or
// rejected exactly once.
type Incoming struct {
	Acknowledger
	ContentType     string
	ContentEncoding string
	// Compression is the compression header, empty when absent.
	Compression string
	// Expiration is the AMQP property: the milliseconds for which the broker may keep
	// the message, as text. In a call it is the caller's timeout.
	Expiration string
	// Headers are the other headers with text values; nil when there are none.
	Headers map[string]string
	Body    []byte
	// Redelivered reports whether the broker has sent the message before.
	Redelivered bool
	// Arrived is the time at which the message was received; zero means now.
	Arrived time.Time
}

// Payload decodes content type, encoding, compression and envelope of a message; a
// payload without an envelope is accepted as well. The result is a valid JSON object.
// An error means that the message must be rejected.
func (m *Incoming) Payload() ([]byte, error) { return m.payload() }

// Envelope returns the message body for a payload, which must be a JSON object in
// UTF-8.
func Envelope(payload []byte) []byte {
	return appendEnvelope(make([]byte, 0, len(payload)+len(payload)/4+64), payload)
}

// payload is open for receivers that accept only strict JSON.
func (m *Incoming) payload() ([]byte, error) {
	payload, finite, err := m.open(DefaultMaxDecompressed)
	if err == nil && !finite {
		err = errNotFinite
	}
	return payload, err
}

// isCompressed reports whether the body has to be decompressed.
func (m *Incoming) isCompressed() bool { return compressions[m.Compression] != nil }

// open decodes content type, encoding, compression and envelope. The payload is a valid
// JSON object; an error means that the message must be rejected. finite is false for a
// payload that contained NaN or Infinity, which null has replaced.
func (m *Incoming) open(limit int) (payload []byte, finite bool, err error) {
	if kind, _, _ := strings.Cut(m.ContentType, ";"); strings.TrimSpace(kind) != ContentType {
		return nil, false, fmt.Errorf("content type %q is not %s", m.ContentType, ContentType)
	}
	body, err := m.decompress(limit)
	if err != nil {
		return nil, false, err
	}
	if payload, finite, err = openBody(m.ContentEncoding, body); err != nil && m.Compression != "" && !m.isCompressed() {
		err = fmt.Errorf("compression %q is not known: %w", m.Compression, err)
	}
	return payload, finite, err
}

// decompress leaves a body with an unknown compression unchanged, as kombu does.
func (m *Incoming) decompress(limit int) ([]byte, error) {
	reader := compressions[m.Compression]
	if reader == nil {
		return m.Body, nil
	}
	decompressing <- struct{}{}
	defer func() { <-decompressing }()
	r, err := reader(bytes.NewReader(m.Body))
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing %s: %w", m.Compression, err)
	}
	if len(plain) > limit {
		return nil, fmt.Errorf("decompressing %s: more than %d bytes", m.Compression, limit)
	}
	return plain, nil
}

// ContentType and ContentEncoding are the AMQP properties of every message.
// oslo.messaging: kombu's JSON serializer
const (
	ContentType     = "application/json"
	ContentEncoding = "utf-8"
)

// Names of the compression header. What kombu calls gzip is a zlib stream.
const (
	CompressionGzip = "application/x-gzip"
	CompressionBz2  = "application/x-bz2"
)

// compressions maps kombu's names of the supported compressions, and their aliases, to
// their readers. kombu: compression.py
var compressions = map[string]func(io.Reader) (io.Reader, error){
	CompressionGzip: unzlib, "gzip": unzlib, "zlib": unzlib,
	CompressionBz2: unbzip2, "bzip2": unbzip2, "bzip": unbzip2,
}

func unzlib(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

func unbzip2(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }

// DefaultMaxDecompressed bounds the size of a decompressed body. It is the size of the
// largest uncompressed message that RabbitMQ 4 accepts.
const DefaultMaxDecompressed = 16 << 20

// decompressing holds a token for each body that is being decompressed, so that many
// small bodies that grow large take up neither all processors nor all memory.
var decompressing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// The envelope of version 2.0 holds the payload as text.
// oslo.messaging: common.py serialize_msg
const (
	envelopeVersion = "oslo.version"
	envelopeMessage = "oslo.message"
	envelopePrefix  = `{"` + envelopeVersion + `": "2.0", "` + envelopeMessage + `": `
)

// appendEnvelope appends the message body for a payload.
func appendEnvelope(dst, payload []byte) []byte {
	dst = append(dst, envelopePrefix...)
	dst = appendQuoted(dst, payload)
	return append(dst, '}')
}

// errNotFinite is the error for a message that only Python accepts as JSON.
var errNotFinite = errors.New("NaN and Infinity are not JSON")

func openBody(encoding string, body []byte) (payload []byte, finite bool, err error) {
	if body, err = toUTF8(encoding, body); err != nil {
		return nil, false, err
	}
	// Python decodes an empty body as an empty payload.
	if len(body) == 0 {
		return []byte("{}"), true, nil
	}
	body, finite = allowNonFinite(body)
	if body == nil {
		return nil, false, errors.New("body is not valid JSON")
	}
	payload, enveloped, err := openEnvelope(body)
	if err != nil || !enveloped {
		return payload, finite, err
	}
	if payload, finite = allowNonFinite(payload); payload == nil {
		return nil, false, errors.New("payload is not valid JSON")
	}
	if i := skipSpace(payload, 0); payload[i] != '{' {
		return nil, false, fmt.Errorf("payload is %w", errNotObject)
	}
	return payload, finite, nil
}

// allowNonFinite returns valid JSON unchanged. If only Python's NaN and Infinity make
// the text invalid, it returns a copy with null in their places, and finite is false.
// Otherwise it returns nil.
func allowNonFinite(text []byte) (_ []byte, finite bool) {
	if validJSON(text) {
		return text, true
	}
	if text = withoutNonFinite(text); !validJSON(text) {
		return nil, false
	}
	return text, false
}

// withoutNonFinite replaces NaN, Infinity and -Infinity outside of strings with null.
func withoutNonFinite(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		end := i + 1
		switch text[i] {
		case '"':
			if end = validString(text, i); end < 0 {
				end = len(text)
			}
		case 'N', 'I', '-':
			for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
				if after := validWord(text, i, name); after > 0 {
					out = append(out, "null"...)
					i, end = after, after
				}
			}
		}
		out = append(out, text[i:end]...)
		i = end
	}
	return out
}

// openEnvelope returns the text of the payload in a body, or the body itself when the
// body is not an envelope.
func openEnvelope(body []byte) (payload []byte, enveloped bool, err error) {
	var version, message []byte
	err = eachMember(body, func(key, value []byte) {
		switch string(key) {
		case envelopeVersion:
			version = value
		case envelopeMessage:
			message = value
		}
	})
	if err != nil {
		return nil, false, fmt.Errorf("body is %w", err)
	}
	if version == nil || message == nil {
		return body, false, nil
	}
	if err := checkEnvelope(version); err != nil {
		return nil, false, err
	}
	if message[0] != '"' {
		return nil, false, errors.New("envelope does not hold its message as text")
	}
	return appendUnquoted(make([]byte, 0, len(message)), message), true, nil
}

func checkEnvelope(version []byte) error {
	if string(version) == `"2.0"` {
		return nil
	}
	text, ok := textOf(version)
	if !ok {
		return errors.New("envelope version is no string")
	}
	if ok, err := compatible("2.0", text); err != nil || !ok {
		return fmt.Errorf("envelope version %q is not 2.0", text)
	}
	return nil
}

// Compress returns the compressed body of a message whose compression header is gzip.
func Compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compressing a message: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing a message: %w", err)
	}
	return b.Bytes(), nil
}

// toUTF8 decodes the body from the encodings that kombu accepts.
func toUTF8(encoding string, body []byte) ([]byte, error) {
	if encoding != ContentEncoding {
		encoding = strings.ToLower(encoding)
	}
	switch encoding {
	case "latin-1", "latin1", "iso-8859-1", "iso8859-1":
		text := make([]byte, 0, len(body)+8)
		for _, c := range body {
			text = utf8.AppendRune(text, rune(c))
		}
		return text, nil
	case "", "utf-8", "utf8", "binary", "us-ascii", "ascii":
		if !utf8.Valid(body) {
			return nil, errors.New("body is not valid UTF-8")
		}
		return body, nil
	default:
		return nil, fmt.Errorf("content encoding %q is not known", encoding)
	}
}
