// SPDX-License-Identifier: Apache-2.0

package history

// Use is what a process uses of its machine.
type Use struct {
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"` // connections among them
	Heap        int64 `json:"heap"`        // bytes, after a collection
}

// Beyond reports whether this is more than before, but for some bytes of the heap.
func (u Use) Beyond(before Use, bytes int64) bool {
	return u.Goroutines > before.Goroutines || u.Descriptors > before.Descriptors || u.Heap > before.Heap+bytes
}
