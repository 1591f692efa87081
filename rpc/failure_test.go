// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever a server calls a failure becomes one here, and is the same one again
// when it is passed on.
func FuzzFailure(f *testing.F) {
	for _, g := range readGolden(f) {
		if len(g.Failure) > 4 {
			f.Add([]byte(g.Failure))
		}
	}
	f.Add([]byte(`{"class": "A_Remote", "module": "m_Remote", "message": null, "tb": null, "args": null, "kwargs": null}`))
	f.Add([]byte(`{"message": {"a": [1, 2.5e300]}, "args": [123456789012345678901234567890], "kwargs": {"": "\ud800"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := decodeFailure(text)
		if err != nil {
			return
		}
		sent := first.encode()
		second, err := decodeFailure(sent)
		if err != nil {
			t.Fatalf("%s: %v", sent, err)
		}
		third, err := decodeFailure(second.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(second, third); diff != "" {
			t.Fatalf("%s: %s", sent, diff)
		}
		if second.Message != first.Message && first.Message == string([]rune(first.Message)) {
			t.Fatalf("message %q became %q", first.Message, second.Message)
		}
	})
}
