// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

// program is the path of the binary under test.
var program string

// TestMain builds the program once, as a release is built: without the race
// detector, whose memory use would hide the memory use of the worker.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "karbor-functional-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "karbor-protection")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/karbor-protection")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		// The tests wait for services more than they compute.
		err := flag.Set("test.parallel", "6")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if code == 0 {
		if err := leaktest.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// need skips the test unless the variables, which say where services are, are
// all set.
func need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: tools/services/up starts the services and prints it", name)
		}
	}
}
