// SPDX-License-Identifier: Apache-2.0

package page

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Chromium shows the page, under its own Content-Security-Policy, wide, on a phone, and
// dark. KARBOR_TEST_SCREENSHOTS is the folder that keeps what it shows.
func TestPageInABrowser(t *testing.T) {
	chromium := os.Getenv("KARBOR_TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("KARBOR_TEST_CHROMIUM is not set: this test needs Chromium")
	}
	folder := os.Getenv("KARBOR_TEST_SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	server := httptest.NewServer(serve(Access{Token: "t"}, sample()))
	defer server.Close()
	for name, arguments := range map[string][]string{
		"desktop": {"--window-size=1240,1290"},
		"phone":   {"--window-size=500,1700"}, // the least that Chromium has
		"dark":    {"--window-size=1240,1290", "--blink-settings=preferredColorScheme=0"},
	} {
		file := filepath.Join(folder, "status-"+name+".png")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, chromium, append(arguments, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
			"--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--screenshot="+file, server.URL)...)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "CONSOLE") { // what is refused, or wrong
				t.Errorf("%s: %s", name, line)
			}
		}
		if info, err := os.Stat(file); err != nil || info.Size() < 10_000 || info.Size() > 150_000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
