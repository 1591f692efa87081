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

// Incoming is one message as it came from the broker. It must be acknowledged
// or rejected exactly once.
type Incoming struct {
	Acknowledger
	ContentType     string
	ContentEncoding string
	// Compression is the header of that name, empty when absent.
	Compression string
	// Expiration is the AMQP property of that name: the milliseconds that the broker
	// was to keep the message, as text. For a call this is the caller's timeout.
	Expiration string
	// Headers are the other headers whose values are text; nil when there are none.
	Headers map[string]string
	Body    []byte
	// Redelivered is set by the broker when it has sent the message before.
	Redelivered bool
	// Arrived is when the message came from the broker; zero means now.
	Arrived time.Time
}

// Payload undoes content type, encoding, compression and envelope of a message;
// a bare payload passes as well. The result is a valid JSON object. An error means
// that the message must be rejected.
func (m *Incoming) Payload() ([]byte, error) { return m.payload() }

// Envelope makes the message body that carries a payload, which must be a JSON
// object in UTF-8.
func Envelope(payload []byte) []byte {
	return appendEnvelope(make([]byte, 0, len(payload)+len(payload)/4+64), payload)
}

// payload is open for receivers that take JSON alone.
func (m *Incoming) payload() ([]byte, error) {
	payload, finite, err := m.open(DefaultMaxDecompressed)
	if err == nil && !finite {
		err = errNotFinite
	}
	return payload, err
}

// isCompressed reports whether it takes more than a look to read the body.
func (m *Incoming) isCompressed() bool { return compressions[m.Compression] != nil }

// open undoes content type, encoding, compression and envelope. The payload is a
// valid JSON object; an error means that the message must be rejected. A payload that
// is not finite had NaN or Infinity in the places of null.
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

// decompress leaves the body of an unknown compression alone, as kombu does.
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

// compressions maps kombu's names of the supported compressions, with its aliases, to
// their readers. kombu: compression.py
var compressions = map[string]func(io.Reader) (io.Reader, error){
	CompressionGzip: unzlib, "gzip": unzlib, "zlib": unzlib,
	CompressionBz2: unbzip2, "bzip2": unbzip2, "bzip": unbzip2,
}

func unzlib(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

func unbzip2(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }

// DefaultMaxDecompressed bounds the bytes that a compressed body may grow to. It is
// the size of the largest message that RabbitMQ 4 takes uncompressed.
const DefaultMaxDecompressed = 16 << 20

// decompressing has a token for each body that is being decompressed: many small
// bodies that grow large must take neither all processors nor all memory.
var decompressing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// The envelope of version 2.0 holds the payload as text.
// oslo.messaging: common.py serialize_msg
const (
	envelopeVersion = "oslo.version"
	envelopeMessage = "oslo.message"
	envelopePrefix  = `{"` + envelopeVersion + `": "2.0", "` + envelopeMessage + `": `
)

// appendEnvelope appends the message body that carries payload.
func appendEnvelope(dst, payload []byte) []byte {
	dst = append(dst, envelopePrefix...)
	dst = appendQuoted(dst, payload)
	return append(dst, '}')
}

// errNotFinite is the error of a message that only Python takes for JSON.
var errNotFinite = errors.New("NaN and Infinity are not JSON")

func openBody(encoding string, body []byte) (payload []byte, finite bool, err error) {
	if body, err = toUTF8(encoding, body); err != nil {
		return nil, false, err
	}
	// Python decodes an empty body to an empty payload.
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

// allowNonFinite gives text back when it is JSON. When it is so but for the numbers that
// Python writes as NaN and Infinity, it gives a copy with null in their places, and
// finite is false. Else it gives nil.
func allowNonFinite(text []byte) (_ []byte, finite bool) {
	if validJSON(text) {
		return text, true
	}
	if text = withoutNonFinite(text); !validJSON(text) {
		return nil, false
	}
	return text, false
}

// withoutNonFinite replaces NaN, Infinity and -Infinity outside of strings.
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

// openEnvelope takes the text of the payload out of a body, or gives the body back
// when it is no envelope.
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

// Compress makes the body of a message with the compression header gzip.
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

// toUTF8 decodes the body. Encodings other than UTF-8 are what kombu accepts.
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
