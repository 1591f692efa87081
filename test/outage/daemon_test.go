// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// outage is one daemon that goes away, once, and comes back.
type outage struct {
	t      testing.TB
	daemon string
	after  bool // the first call that changes something, and not before it

	once  sync.Once
	ended sync.WaitGroup
}

func (o *outage) script(name string, arguments ...string) {
	command := exec.CommandContext(context.WithoutCancel(o.t.Context()), filepath.Join(os.Getenv("KARBOR_TEST_DAEMONS"), name), arguments...)
	if output, err := command.CombinedOutput(); err != nil {
		o.t.Errorf("%s %v: %v\n%s", name, arguments, err, output)
	}
}

// happen kills the daemon, and has it started while the operation goes on.
func (o *outage) happen() {
	o.once.Do(func() {
		o.script("stop", "--kill", o.daemon)
		o.ended.Go(func() { o.script("start", o.daemon) })
	})
}

// Transport is what openstack.Factory.Wrapped wants. What only reads, such as a
// verification, loses the daemon before its first call.
func (o *outage) Transport(reads bool) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return openstacktest.Through(func(req *http.Request) (*http.Response, error) {
			changes := reads || req.Method != http.MethodGet && req.Method != http.MethodHead
			if changes && (reads || !o.after) {
				o.happen()
			}
			resp, err := next.RoundTrip(req)
			if changes {
				o.happen()
			}
			return resp, err
		})
	}
}
