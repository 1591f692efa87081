// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/providers/protection"
)

// A worker without the provider leaves an operation alone, and says why it does
// not go on.
func TestProviderThatIsNotLoaded(t *testing.T) {
	t.Parallel()
	kept := journaltest.NewMemory(time.Now)
	b := setup(t, hookPlugin{}, nil, func(c *Config) { c.Journal = kept })
	b.engine.Providers = one{b.provider}
	if err := kept.Announce(t.Context(), journal.Owner{ID: "live"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, owner, kind, provider string
		able                      bool
		reason                    string
	}{
		{"1", "dead", string(protection.Protect), "provider", true, ""},
		{"2", "dead", string(protection.Protect), "gone", false, "here: Provider gone could not be found."},
		{"3", "live", string(protection.Protect), "gone", false, ""}, // it has the provider
		{"4", "dead", "migrate", "provider", false, `here: no operation "migrate" is known here`},
	} {
		entry, _, err := kept.Begin(t.Context(), journal.Entry{ID: c.id, Kind: c.kind, ProviderID: c.provider, Input: []byte(`{}`),
			Claim: journal.Claim{Owner: c.owner}})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.engine.Able(entry); (err == nil) != c.able {
			t.Errorf("%s: %v", c.id, err)
		}
		d, err := b.engine.Operation(t.Context(), c.id)
		if err != nil || !strings.HasSuffix(d.Reason, c.reason) || (c.reason == "") != (d.Reason == "") {
			t.Errorf("%s: %+v, %v", c.id, d, err)
		}
		all, err := b.engine.Operations(context.Background(), journal.Filter{Limit: 1})
		if err != nil || len(all) != 1 || all[0].Reason != d.Reason {
			t.Errorf("%s is listed as %+v, %v", c.id, all, err)
		}
	}
}
