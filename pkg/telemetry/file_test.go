// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// files maps the names in a folder to what they hold.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		held[entry.Name()] = string(text)
	}
	return held
}

// A file that somebody else moves is opened anew: by itself, and when asked to.
func TestMovedFile(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		log, _ := newLog(t, messageOnly(LogConfig{}))
		path := log.router.file.path
		log.Info("first")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if asked {
			if err := log.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
		log.Info("second")
		if diff := cmp.Diff(map[string]string{"karbor.log": "second\n", "karbor.log.1": "first\n"}, files(t, filepath.Dir(path))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRotationBySize(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]map[string]string{
		0: {"karbor.log": "1111\n2222\n3333\n4444\n"},
		1: {"karbor.log": "4444\n", "karbor.log.1": "3333\n"},
		2: {"karbor.log": "4444\n", "karbor.log.1": "3333\n", "karbor.log.2": "2222\n"},
	} {
		log, _ := newLog(t, messageOnly(LogConfig{Rotation: Rotation{Type: "Size", Size: 8, Count: count}}))
		for _, text := range []string{"1111", "2222", "3333", "4444"} {
			log.Info(text)
		}
		if diff := cmp.Diff(want, files(t, filepath.Dir(log.router.file.path))); diff != "" {
			t.Errorf("%d files: %s", count, diff)
		}
	}
}

// A file is rotated at its times, and the oldest ones go. What only looks like
// one of them stays.
func TestRotationByInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "k.log")
		if err := os.WriteFile(path+".old", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openLogFile(path, Rotation{Type: "interval", Interval: 2, IntervalType: "Hours", Count: 2}, func() time.Time { return time.Now().UTC() })
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, text := range []string{"00h\n", "01h\n", "02h\n", "03h\n", "04h\n", "05h\n", "06h\n"} {
			if _, err := f.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		want := map[string]string{"k.log": "06h\n", "k.log.2000-01-01_02": "02h\n03h\n", "k.log.2000-01-01_04": "04h\n05h\n", "k.log.old": ""}
		if diff := cmp.Diff(want, files(t, filepath.Dir(path))); diff != "" {
			t.Error(diff)
		}
	})
}

// A folder in which nothing can be renamed costs no line.
func TestRotationThatFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k.log")
	if err := os.MkdirAll(path+".1/full", 0o750); err != nil { // a folder that no file replaces
		t.Fatal(err)
	}
	f, err := openLogFile(path, Rotation{Type: "size", Size: 4, Count: 1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, text := range []string{"one\n", "two\n"} {
		if _, err := f.Write([]byte(text)); (err != nil) != (i == 1) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestWrongRotations(t *testing.T) {
	t.Parallel()
	for option, r := range map[string]Rotation{
		"log_rotation_type":        {Type: "daily"},
		"log_rotate_interval_type": {Type: "interval", Interval: 1, IntervalType: "fortnights"},
		"log_rotate_interval":      {Type: "interval", Interval: 0, IntervalType: "days"},
		"day of the week":          {Type: "interval", Interval: 7, IntervalType: "Weekday"},
	} {
		_, err := NewLog(LogConfig{File: filepath.Join(t.TempDir(), "log"), Rotation: r})
		if err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
