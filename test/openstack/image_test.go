// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// TestImage is the plainest trip: one image, lost and restored.
func TestImage(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	p := newProject(t)
	data := openstacktest.Noise(1<<20 + 1)
	id := p.UploadImage("disk", data)
	before := p.Holdings()
	w, c := s.Start("worker"), s.Client(p)

	checkpoint := c.Protected(resource.Resource{Type: resource.Image, ID: id, Name: "disk"})
	p.Delete(openstacktest.Image, id)
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, cloudtest.Parameters{resource.Image: {"restore_name": "disk"}})
	for _, restored := range record.IDs(resource.Image) {
		if !bytes.Equal(p.DownloadImage(restored), data) {
			t.Error("other bytes came back")
		}
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, p, "in the end", before)
	w.Stop()
}
