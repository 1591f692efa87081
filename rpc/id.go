// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// newID is a random UUID4 as 32 hexadecimal digits.
func newID() string { return string(appendID(make([]byte, 0, 32))) }

func appendID(dst []byte) []byte {
	var b [16]byte
	// crypto/rand.Read never fails.
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.AppendEncode(dst, b[:])
}

// maxID is the length of the longest id that is kept as it is.
const maxID = 64

// BoundedID is the unique id of a message as a receiver keeps it: one that is longer
// than ids are is replaced by its hash, because many are remembered for long.
func BoundedID(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// NewID makes the hex32 ids of messages and of transient queue names.
func NewID() string { return newID() }
