// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/providers/protection"
)

// digests of a section whose metadata is another than what is there.
type digests struct{}

func (digests) Covers(key string) bool                       { return key != "/r/status" }
func (digests) Record(context.Context, string, string) error { return nil }
func (digests) Want(string) (string, bool)                   { return "another", true }
func (digests) Keys(string) []string                         { return []string{"/r/metadata"} }

// A backup whose metadata were altered, or are gone, is deleted without them: what they name
// may be another's, and what was made for the checkpoint is looked for.
func TestDeleteOfAlteredMetadata(t *testing.T) {
	t.Parallel()
	for name, objects := range map[string]map[string]string{
		"altered": {"status": protection.StatusAvailable, "metadata": `{"backup_id": "another's"}`},
		"gone":    {"status": protection.StatusAvailable},
	} {
		memory := banktest.NewMemory()
		for key, text := range objects {
			memory.Set("/r/"+key, banktest.Stored{Body: []byte(text)})
		}
		section, err := bank.New(memory, nil).Section("/r")
		if err != nil {
			t.Fatal(err)
		}
		called := false
		err = Frame{Title: "Test"}.Delete(func(ctx context.Context, c *protection.Call, was string) error {
			called = true
			var about map[string]any
			if found, err := Metadata(ctx, c, &about); found || err != nil || !Unfinished(was) {
				t.Errorf("%s: found %t, %v, was %s", name, found, err, was)
			}
			return nil
		})(t.Context(), &protection.Call{Section: section.WithDigests(digests{})})
		if err != nil || !called {
			t.Errorf("%s: %v, called %t", name, err, called)
		}
		if objects := memory.Objects(); len(objects) != 1 || string(objects["/r/status"].Body) != protection.StatusDeleted {
			t.Errorf("%s: there are %v", name, objects)
		}
	}
}
