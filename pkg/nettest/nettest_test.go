// SPDX-License-Identifier: Apache-2.0

package nettest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/nettest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestFakeTime has a client and a server wait for each other for hours.
func TestFakeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, network := nettest.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
			}
		}))
		client := &http.Client{Transport: &http.Transport{DialContext: network.Dial}, Timeout: 90 * time.Minute}
		defer client.CloseIdleConnections()
		for limit, answered := range map[time.Duration]bool{90 * time.Minute: true, 30 * time.Minute: false} {
			client.Timeout = limit
			began := time.Now()
			resp, err := client.Get(server.URL)
			if err == nil {
				resp.Body.Close()
			}
			if spent := time.Since(began); (err == nil) != answered || spent != min(limit, time.Hour) {
				t.Errorf("within %s: %v after %s", limit, err, spent)
			}
		}
	})
}
