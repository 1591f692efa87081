// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/fault"
)

func TestNormalKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"a":                 "/a",
		"/a":                "/a",
		"//a":               "/a",
		"a//b///c":          "/a/b/c",
		"index.json":        "/index.json",
		"/i/1795362440@x-y": "/i/1795362440@x-y",
		"a/.hidden/..b/c..": "/a/.hidden/..b/c..",
	} {
		if got, err := normalKey(key); got != want || err != nil {
			t.Errorf("%q gives %q, %v, want %q", key, got, err, want)
		}
	}
	for key, want := range map[string]string{
		"":         `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: ""`,
		"/":        `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: "/"`,
		"a/":       `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: "a/"`,
		"a b":      `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: "a b"`,
		"a\n":      "Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: \"a\n\"",
		"ü":        `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: "ü"`,
		"/../a":    `Invalid parameter: must not contain "." or ".." parts`,
		"/./a":     `Invalid parameter: must not contain "." or ".." parts`,
		"a/../b":   `Invalid parameter: must not contain "." or ".." parts`,
		"..":       `Invalid parameter: must not contain "." or ".." parts`,
		"a/b/..":   `Invalid parameter: must not contain "." or ".." parts`,
		"a/./b":    `Invalid parameter: must not contain "." or ".." parts`,
		"../../up": `Invalid parameter: must not contain "." or ".." parts`,
	} {
		if got, err := normalKey(key); !fault.Is(err, "InvalidParameterValue") || err.Error() != want {
			t.Errorf("%q gives %q, %v, want the error %q", key, got, err, want)
		}
	}
}

func TestNormalSection(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "a": "/a/", "/a/": "/a/", "//a//b": "/a/b/", "/a@b/": "/a@b/",
	} {
		if got, err := normalSection(path); got != want || err != nil {
			t.Errorf("%q gives %q, %v, want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"":       "Empty section",
		"a b":    "Invalid section. Must begin and end with a slash, and contain valid characters",
		"/../a":  `Invalid parameter: must not contain "." or ".." parts`,
		"/a/../": `Invalid parameter: must not contain "." or ".." parts`,
	} {
		if got, err := normalSection(path); !fault.Is(err, "InvalidParameterValue") || err.Error() != want {
			t.Errorf("%q gives %q, %v, want the error %q", path, got, err, want)
		}
	}
}

// Whatever is taken is clean and stays so.
func TestNormalFormsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z/.@ ]{0,12}`).Draw(t, "text")
		if key, err := normalKey(text); err == nil {
			again, err := normalKey(key)
			if again != key || err != nil || path.Clean(key) != key {
				t.Fatalf("key %q becomes %q, then %q, %v", text, key, again, err)
			}
		}
		if section, err := normalSection(text); err == nil {
			if !strings.HasPrefix(section, "/") || !strings.HasSuffix(section, "/") ||
				section != "/" && path.Clean(section)+"/" != section {
				t.Fatalf("section %q becomes %q", text, section)
			}
		}
		if prefix, err := normalPrefix(text); err == nil {
			again, err := normalPrefix(prefix)
			if again != prefix || err != nil || !strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") {
				t.Fatalf("prefix %q becomes %q, then %q, %v", text, prefix, again, err)
			}
		}
	})
}
