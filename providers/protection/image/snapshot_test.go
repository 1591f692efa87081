// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

const serverPath = openstacktest.Nova + "/servers/s1"

// withServer lets Nova know server s1, whose snapshot becomes image "snap".
func withServer(g *fakeGlance, statuses ...string) {
	bodies := make([]string, len(statuses))
	for i, status := range statuses {
		bodies[i] = fmt.Sprintf(`{"server": {"id": "s1", "status": %q}}`, status)
	}
	g.Sequence("GET "+serverPath, bodies...)
	g.Handle("POST "+serverPath+"/action", func(w http.ResponseWriter, r *http.Request) {
		g.add("snap", noise(2*pieceSize))
		snapshotMade(g, w, r, "snap")
	})
}

// snapshotMade is Nova's answer to createImage.
// nova: api/openstack/compute/servers.py _action_create_image
func snapshotMade(g *fakeGlance, w http.ResponseWriter, r *http.Request, id string) {
	if openstacktest.Minor(r) < 45 {
		w.Header().Set("Location", g.URL+"/glance/images/"+id)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"image_id": %q}`, id)
}

func ofServer(extraInfo string) resource.Resource {
	r := tiny
	r.ExtraInfo = json.RawMessage(extraInfo)
	return r
}

func TestSnapshotOfTheServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ extraInfo, microversion string }{
		"from the cloud": {`{"server_id": "s1"}`, ""},
		"from a plan":    {`"{\"server_id\": \"s1\"}"`, ""},
		"no Location":    {`{"server_id": "s1"}`, "2.90"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.SetMicroversion("nova", tc.microversion)
			g.add(tiny.ID, noise(10))
			withServer(g, "BUILD", "SHUTOFF")
			err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(ofServer(tc.extraInfo), "backup_name", "b"))
			if err != nil {
				t.Fatal(err)
			}
			if got := h.Text(tiny, "metadata"); !strings.HasPrefix(got, `{"resource_id": "`+tiny.ID+`", "server_id": "s1", "image_metadata": {`) || !strings.HasSuffix(got, `"chunks_num": 2}`) {
				t.Errorf("metadata is %s", got)
			}
			if diff := cmp.Diff([]string{tiny.ID}, g.ids()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			var body map[string]map[string]any
			if err := json.Unmarshal([]byte(g.Calls("POST " + serverPath)[0].Body), &body); err != nil {
				t.Fatal(err)
			}
			want := map[string]map[string]any{"createImage": {"name": "Temp_image_name_for_karbors1", "metadata": map[string]any{
				"backup_name": "b", "karbor_checkpoint_id": h.Checkpoint.ID(), "karbor_resource_id": tiny.ID,
			}}}
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("action (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoSnapshot(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		extraInfo string
		enabled   bool
	}{
		"switched off": {`{"server_id": "s1"}`, false},
		"null":         {`null`, true},
		"none":         {``, true},
		"other":        {`{"availability_zone": "nova"}`, true},
		"no JSON":      {`"text"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.add(tiny.ID, noise(10))
			p := plugin(g, pieceSize)
			p.cfg.ServerSnapshot = tc.enabled
			if err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(ofServer(tc.extraInfo))); err != nil {
				t.Fatal(err)
			}
			if n := len(g.Calls("GET " + openstacktest.Nova)); n != 0 {
				t.Errorf("Nova was asked %d times", n)
			}
		})
	}
}

// The image that a server was booted from may be deleted: a snapshot of the server does
// without it, and without a snapshot there is nothing to protect.
func TestDeletedImage(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{true, false} {
		g, h := newGlance(t), plugintest.New(t)
		withServer(g, "ACTIVE")
		p := plugin(g, pieceSize)
		p.cfg.ServerSnapshot = snapshot
		err := h.Run(openstacktest.Context(t), p, protection.Protect, h.Call(ofServer(`{"server_id": "s1"}`)))
		if snapshot {
			must(t, err)
			must(t, h.Run(openstacktest.Context(t), p, protection.Restore, h.Call(ofServer(`{"server_id": "s1"}`))))
		} else if err == nil || !strings.Contains(err.Error(), "The image that server s1 was booted from was deleted") {
			t.Errorf("got %v", err)
		}
	}
}

func TestSnapshotFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status  string
		arrange func(g *fakeGlance)
		reason  string
	}{
		"server in error": {"ERROR", nil, "The parent server of the image is not in valid status"},
		"server in limbo": {"LIMBO", nil, "The parent server of the image is not in valid status"},
		"snapshot killed": {"ACTIVE", func(g *fakeGlance) { killSnapshot(g) }, "Create parent server snapshot failed."},
		"snapshot rots":   {"ACTIVE", func(g *fakeGlance) { rotSnapshot(g) }, "Corrupt image download. Hash was "},
		"no such server":  {"", nil, "The parent server of the image is not in valid status"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			g.add(tiny.ID, noise(10))
			if tc.status != "" {
				if tc.arrange == nil {
					withServer(g, tc.status)
				} else {
					g.Sequence("GET "+serverPath, fmt.Sprintf(`{"server": {"status": %q}}`, tc.status))
					tc.arrange(g)
				}
			}
			err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(ofServer(`{"server_id": "s1"}`)))
			if !fault.Is(err, "CreateResourceFailed") || !strings.HasPrefix(err.Error(), "Create Image Backup failed: "+tc.reason) {
				t.Errorf("got %v", err)
			}
			if got := h.Text(tiny, "status"); got != "error" {
				t.Errorf("status is %s", got)
			}
			if diff := cmp.Diff([]string{tiny.ID}, g.ids()); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

func snapshotInto(g *fakeGlance, change func(image map[string]any)) {
	g.Handle("POST "+serverPath+"/action", func(w http.ResponseWriter, _ *http.Request) {
		change(g.add("snap", noise(pieceSize)))
		w.Header().Set("Location", g.URL+"/glance/images/snap")
		w.WriteHeader(http.StatusAccepted)
	})
}

func killSnapshot(g *fakeGlance) {
	snapshotInto(g, func(image map[string]any) { image["status"] = "killed" })
}

func rotSnapshot(g *fakeGlance) {
	snapshotInto(g, func(image map[string]any) { image["checksum"] = "00" })
}

func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	g.Answer("GET "+serverPath, 200, `{"server": {"status": "ACTIVE"}}`)
	g.Answer("POST "+serverPath+"/action", 409, `{"conflictingRequest": {"message": "not now"}}`)
	err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(ofServer(`{"server_id": "s1"}`)))
	if err == nil || !strings.HasPrefix(err.Error(), "Create Image Backup failed: Failed to create the server snapshot: not now (HTTP 409), id=") {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotOfAnInterruptedRunIsUsed(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	earlier := g.add("earlier", noise(pieceSize))
	earlier["name"] = "Temp_image_name_for_karbors1"
	earlier["karbor_checkpoint_id"], earlier["karbor_resource_id"] = h.Checkpoint.ID(), tiny.ID
	stranger := g.add("stranger", noise(10))
	stranger["name"], stranger["karbor_checkpoint_id"] = "Temp_image_name_for_karbors1", "another"
	if err := h.Run(openstacktest.Context(t), plugin(g, pieceSize), protection.Protect, h.Call(ofServer(`{"server_id": "s1"}`))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stranger"}, g.ids()); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if n := len(g.Calls("POST ")); n != 0 {
		t.Errorf("%d snapshots were made", n)
	}
}

func FuzzServerOf(f *testing.F) {
	for _, seed := range []string{`{"server_id": "s1"}`, `"{\"server_id\": \"s1\"}"`, `null`, `"\""`, `[]`, `{"server_id": 1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if json.Unmarshal(text, new(string)) == nil || !utf8.Valid(text) {
			return
		}
		plan, err := json.Marshal(string(text)) // as a plan carries it
		if err != nil {
			t.Fatal(err)
		}
		if a, b := serverOf(text), serverOf(plan); a != b {
			t.Errorf("server %q as an object, %q as a text", a, b)
		}
	})
}
