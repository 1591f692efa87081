// SPDX-License-Identifier: Apache-2.0

package openstacktest

// Restore restores a backup to a volume, or to a new one if volumeID is empty,
// waits for the end and returns the volume's id.
func (p *RealProject) Restore(backupID, volumeID string) string {
	p.t.Helper()
	body := map[string]any{}
	if volumeID != "" {
		body["volume_id"] = volumeID
	}
	var answer struct {
		Restore struct {
			VolumeID string `json:"volume_id"`
		}
	}
	must(p.t, p.call(p.ctx, VolumeBackup, "POST", "backups/"+backupID+"/restore", map[string]any{"restore": body}, &answer))
	p.Await(VolumeBackup, backupID, "available")
	p.Await(Volume, answer.Restore.VolumeID, "available")
	return answer.Restore.VolumeID
}

// UploadVolume makes a raw image of a volume, waits for it and returns its id.
func (p *RealProject) UploadVolume(volumeID, name string) string {
	p.t.Helper()
	var answer struct {
		Image struct {
			ID string `json:"image_id"`
		} `json:"os-volume_upload_image"`
	}
	p.Act(Volume, volumeID, "os-volume_upload_image", map[string]any{"image_name": name, "disk_format": "raw", "container_format": "bare"}, &answer)
	p.Await(Image, answer.Image.ID, "active")
	p.Await(Volume, volumeID, "available")
	return answer.Image.ID
}
