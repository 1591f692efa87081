// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// stored puts the data of an image into a section, with a manifest.
func stored(t *testing.T, data string, objectSize int) (*bank.Section, *Manifest) {
	t.Helper()
	cloud, section := openstacktest.New(t), open(t, banktest.NewMemory())
	cloud.Handle("GET "+openstacktest.Glance+"/images/i/file", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(data)) })
	client, err := cloud.Image(openstacktest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	transfer := Transfer{Client: client, ImageID: "i", Section: section}
	manifest, err := transfer.Store(t.Context(), objectSize, 0, Hash{})
	if err != nil {
		t.Fatal(err)
	}
	if err := manifest.Write(t.Context(), section); err != nil {
		t.Fatal(err)
	}
	return section, manifest
}

func TestManifest(t *testing.T) {
	t.Parallel()
	section, manifest := stored(t, "abcabcab", 3)
	abc := Entry{3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
	want := &Manifest{Objects: []Entry{abc, abc, {2, "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"}}}
	if diff := cmp.Diff(want, manifest); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var told []int
	if err := Verify(t.Context(), section, 3, nil, func(percent int) { told = append(told, percent) }); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(told) != "[33 66 100]" {
		t.Errorf("told %v", told)
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	sum := "0cc175b9c0f1b6a831c399e269772661" // of "a"
	for name, tc := range map[string]struct {
		harm  func(t *testing.T, s *bank.Section) error
		count Count
		md5   *string
		want  error
		text  string
	}{
		"missing":                {func(t *testing.T, s *bank.Section) error { return s.Delete(t.Context(), Key(2)) }, 3, nil, ErrCount, "data_2 is missing"},
		"shorter":                {func(t *testing.T, s *bank.Section) error { return s.PutText(t.Context(), Key(2), "ab") }, 3, nil, ErrManifest, "data_2 has 2 bytes, not 3"},
		"changed":                {func(t *testing.T, s *bank.Section) error { return s.PutText(t.Context(), Key(2), "abd") }, 3, nil, ErrManifest, ""},
		"another count":          {func(*testing.T, *bank.Section) error { return nil }, 2, nil, ErrCount, "the manifest knows of 3 objects"},
		"no manifest, wrong MD5": {func(t *testing.T, s *bank.Section) error { return s.Delete(t.Context(), ManifestKey) }, 3, &sum, ErrChecksum, ""},
		"no manifest, no MD5":    {func(t *testing.T, s *bank.Section) error { return s.Delete(t.Context(), ManifestKey) }, 3, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			section, _ := stored(t, "abcabcab", 3)
			if err := tc.harm(t, section); err != nil {
				t.Fatal(err)
			}
			err := Verify(t.Context(), section, tc.count, tc.md5, nil)
			if !errors.Is(err, tc.want) || tc.text != "" && err.Error() != tc.want.Error()+": "+tc.text {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A restore fails for data that are not what the manifest says, whatever the checksum of the
// whole says.
func TestLoadFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, s *bank.Section) error{
		"nothing":    func(*testing.T, *bank.Section) error { return nil },
		"changed":    func(t *testing.T, s *bank.Section) error { return s.PutText(t.Context(), Key(2), "abd") },
		"shorter":    func(t *testing.T, s *bank.Section) error { return s.PutText(t.Context(), Key(3), "a") },
		"no entries": func(t *testing.T, s *bank.Section) error { return (&Manifest{}).Write(t.Context(), s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			section, _ := stored(t, "abcabcab", 3)
			if err := harm(t, section); err != nil {
				t.Fatal(err)
			}
			cloud := openstacktest.New(t)
			cloud.Handle("PUT "+openstacktest.Glance+"/images/i/file", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			})
			client, err := cloud.Image(openstacktest.Context(t))
			if err != nil {
				t.Fatal(err)
			}
			transfer := Transfer{Client: client, ImageID: "i", Section: section}
			err = transfer.Load(t.Context(), 3, nil)
			if wrong := errors.Is(err, ErrManifest) || errors.Is(err, ErrCount); wrong != (name != "nothing") || !wrong && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}
