// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

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

// maxDecompressed bounds what a compressed body may grow to.
const maxDecompressed = 256 << 20

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

// payload undoes content type, encoding, compression and envelope. The result is
// a valid JSON object; an error means that the message must be rejected.
func (m *Incoming) payload() ([]byte, error) {
	if kind, _, _ := strings.Cut(m.ContentType, ";"); strings.TrimSpace(kind) != ContentType {
		return nil, fmt.Errorf("content type %q is not %s", m.ContentType, ContentType)
	}
	body, err := decompress(m.Compression, m.Body)
	if err != nil {
		return nil, err
	}
	if body, err = toUTF8(m.ContentEncoding, body); err != nil {
		return nil, err
	}
	// Python decodes an empty body to an empty payload.
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	if !validJSON(body) {
		return nil, errors.New("body is not valid JSON")
	}
	return openEnvelope(body)
}

func openEnvelope(body []byte) ([]byte, error) {
	var version, message []byte
	err := eachMember(body, func(key, value []byte) {
		switch string(key) {
		case envelopeVersion:
			version = value
		case envelopeMessage:
			message = value
		}
	})
	if err != nil {
		return nil, fmt.Errorf("body is %w", err)
	}
	if version == nil || message == nil {
		return body, nil
	}
	if err := checkEnvelope(version); err != nil {
		return nil, err
	}
	if message[0] != '"' {
		return nil, errors.New("envelope does not hold its message as text")
	}
	payload := appendUnquoted(make([]byte, 0, len(message)), message)
	if !validJSON(payload) {
		return nil, errors.New("payload is not valid JSON")
	}
	if i := skipSpace(payload, 0); payload[i] != '{' {
		return nil, fmt.Errorf("payload is %w", errNotObject)
	}
	return payload, nil
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

// decompress leaves the body of an unknown compression alone, as kombu does.
func decompress(name string, body []byte) ([]byte, error) {
	var r io.Reader
	switch name {
	case CompressionGzip:
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("decompressing %s: %w", name, err)
		}
		r = z
	case CompressionBz2:
		r = bzip2.NewReader(bytes.NewReader(body))
	default:
		return body, nil
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxDecompressed+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing %s: %w", name, err)
	}
	if len(plain) > maxDecompressed {
		return nil, fmt.Errorf("decompressing %s: more than %d bytes", name, maxDecompressed)
	}
	return plain, nil
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
