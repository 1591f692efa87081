// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// newID returns a random UUID4 as 32 hexadecimal digits.
func newID() string { return string(appendID(make([]byte, 0, 32))) }

func appendID(dst []byte) []byte {
	var b [16]byte
	// crypto/rand.Read never fails.
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.AppendEncode(dst, b[:])
}

// maxID is the length of the longest id that is kept unchanged.
const maxID = 64

// BoundedID returns the unique id of a message in the form that a receiver keeps. It
// replaces an overlong id by its hash, because receivers remember many ids for long.
func BoundedID(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// NewID returns a new id in hex32 form, for messages and transient queue names.
func NewID() string { return newID() }
