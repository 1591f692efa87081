// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
)

// Frames of AMQP 0-9-1: type, channel, size, payload, end.
// amqp-0-9-1: section 4.2.3
const (
	frameMethod = 1
	frameHeader = 2
	frameBody   = 3
	frameEnd    = 0xce

	frameOverhead = 8
	headerSize    = 7
)

// Methods as class<<16|method. amqp-0-9-1: XML definition, chapter 1
const (
	connectionStart   = 10<<16 | 10
	connectionStartOK = 10<<16 | 11
	connectionTune    = 10<<16 | 30
	connectionTuneOK  = 10<<16 | 31
	connectionOpen    = 10<<16 | 40
	connectionOpenOK  = 10<<16 | 41
	connectionClose   = 10<<16 | 50
	channelOpen       = 20<<16 | 10
	channelOpenOK     = 20<<16 | 11
	channelClose      = 20<<16 | 40
	queueDeclare      = 50<<16 | 10
	queueDeclareOK    = 50<<16 | 11
	basicConsume      = 60<<16 | 20
	basicConsumeOK    = 60<<16 | 21
	basicPublish      = 60<<16 | 40
	basicReturn       = 60<<16 | 50
	basicDeliver      = 60<<16 | 60
	basicAck          = 60<<16 | 80
	basicNack         = 60<<16 | 120
	confirmSelect     = 85<<16 | 10
	confirmSelectOK   = 85<<16 | 11

	basicClass = 60
)

var errMalformed = errors.New("malformed frame from the broker")

// frame is one frame; payload is valid until the next one is read.
type frame struct {
	kind    byte
	channel uint16
	payload []byte
}

// method is the method of a method frame, 0 for other frames.
func (f *frame) method() uint32 {
	if f.kind != frameMethod || len(f.payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(f.payload)
}

// writer appends AMQP's types to a frame that begin has begun.
type writer struct {
	buf   []byte
	start int
}

func (w *writer) begin(kind byte, channel uint16) *writer {
	w.start = len(w.buf)
	w.buf = append(w.buf, kind, byte(channel>>8), byte(channel), 0, 0, 0, 0)
	return w
}

func (w *writer) method(channel uint16, m uint32) *writer {
	return w.begin(frameMethod, channel).long(m)
}

func (w *writer) end() {
	binary.BigEndian.PutUint32(w.buf[w.start+3:], uint32(len(w.buf)-w.start-headerSize))
	w.buf = append(w.buf, frameEnd)
}

func (w *writer) octet(v byte) *writer   { w.buf = append(w.buf, v); return w }
func (w *writer) short(v uint16) *writer { w.buf = binary.BigEndian.AppendUint16(w.buf, v); return w }
func (w *writer) long(v uint32) *writer  { w.buf = binary.BigEndian.AppendUint32(w.buf, v); return w }
func (w *writer) longlong(v uint64) *writer {
	w.buf = binary.BigEndian.AppendUint64(w.buf, v)
	return w
}
func (w *writer) bytes(v []byte) *writer { w.buf = append(w.buf, v...); return w }

// shortText is limited to 255 bytes, which all of ours keep.
func (w *writer) shortText(v string) *writer {
	w.buf = append(append(w.buf, byte(len(v))), v...)
	return w
}

func (w *writer) longText(v string) *writer {
	w.buf = append(binary.BigEndian.AppendUint32(w.buf, uint32(len(v))), v...)
	return w
}
