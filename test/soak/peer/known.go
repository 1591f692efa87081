// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"hash/fnv"
)

// known is a set of ids in memory that does not grow, because the soak watches
// the memory of the process: a table of hashes, all of it touched at once.
type known struct {
	slots []uint64 // 0 is free
	used  int
}

func newKnown(expected int) known {
	k := known{slots: make([]uint64, 2*max(expected, 1))}
	for i := range k.slots {
		k.slots[i] = 1
	}
	clear(k.slots)
	return k
}

func hash(id []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(id)
	return max(h.Sum64(), 1)
}

// find is the slot of the hash, or the free one where it belongs.
func (k *known) find(h uint64) *uint64 {
	for i := h % uint64(len(k.slots)); ; i = (i + 1) % uint64(len(k.slots)) {
		if k.slots[i] == 0 || k.slots[i] == h {
			return &k.slots[i]
		}
	}
}

func (k *known) has(id []byte) bool { return *k.find(hash(id)) != 0 }

func (k *known) add(id []byte) error {
	slot := k.find(hash(id))
	if *slot != 0 {
		return nil
	}
	if k.used++; k.used > len(k.slots)*3/4 {
		return errors.New("more ids than were expected")
	}
	*slot = hash(id)
	return nil
}
