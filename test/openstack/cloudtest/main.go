// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

// Programs that a worker can be.
const (
	module = "github.com/karbor-project/karbor/"
	// Service is the service as it is shipped.
	Service = module + "cmd/karbor-protection"
)

// programs are those that were built, by import path.
var programs struct {
	sync.Mutex
	folder string
	built  map[string]string
}

// Main runs the tests of a package that has sites, several at a time since they
// wait more than they compute, looks for leaks, and exits. m is a *testing.M.
func Main(m goleak.TestingM) { os.Exit(run(m)) }

func run(m goleak.TestingM) int {
	folder, err := os.MkdirTemp("", "karbor-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	programs.folder, programs.built = folder, map[string]string{}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := flag.Set("test.parallel", "4"); err != nil {
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

// build returns the path of a program, built at the first time that it is asked
// for.
func build(t testing.TB, importPath string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if programs.folder == "" {
		t.Fatal("TestMain does not call cloudtest.Main")
	}
	if built := programs.built[importPath]; built != "" {
		return built
	}
	built := filepath.Join(programs.folder, path.Base(importPath))
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", built, importPath).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", importPath, err, out)
	}
	programs.built[importPath] = built
	return built
}
