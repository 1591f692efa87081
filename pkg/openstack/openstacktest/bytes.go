// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
)

// Noise returns bytes that no other call returns.
func Noise(size int) []byte {
	var seed [32]byte
	copy(seed[:], uuid.NewString())
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(data)
	return data
}

// VolumeFile returns the file that holds a volume's bytes. It needs
// KARBOR_TEST_VOLUMES.
func VolumeFile(volumeID string) string {
	return filepath.Join(os.Getenv("KARBOR_TEST_VOLUMES"), "volume-"+volumeID)
}

// WriteVolume writes into a volume as a guest would.
func (p *RealProject) WriteVolume(volumeID string, offset int64, data []byte) {
	p.t.Helper()
	f, err := os.OpenFile(VolumeFile(volumeID), os.O_WRONLY, 0) // a volume that is not there is an error
	must(p.t, err)
	_, err = f.WriteAt(data, offset)
	must(p.t, err)
	must(p.t, f.Close())
}

// ReadVolume returns all bytes of a volume: 16 MiB for each GiB of its size.
func (p *RealProject) ReadVolume(volumeID string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(VolumeFile(volumeID))
	must(p.t, err)
	return data
}

// ShareFolder returns the folder that holds a share's content. It needs
// KARBOR_TEST_SHARES.
func ShareFolder(shareID string) string {
	return filepath.Join(os.Getenv("KARBOR_TEST_SHARES"), "share-"+shareID)
}

// UploadImage makes a raw image of data.
func (p *RealProject) UploadImage(name string, data []byte) string {
	p.t.Helper()
	id := p.Make(Image, map[string]any{"name": name, "disk_format": "raw", "container_format": "bare"})
	client, err := p.Image(p.ctx)
	must(p.t, err)
	_, err = client.Put(p.ctx, client.ServiceURL("images", id, "file"), bytes.NewReader(data), nil, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"}, OkCodes: []int{204},
	})
	must(p.t, err)
	return id
}

// DownloadImage returns an image's bytes.
func (p *RealProject) DownloadImage(id string) []byte {
	p.t.Helper()
	client, err := p.Image(p.ctx)
	must(p.t, err)
	response, err := client.Request(p.ctx, "GET", client.ServiceURL("images", id, "file"),
		&gophercloud.RequestOpts{KeepResponseBody: true, OkCodes: []int{200, 204}})
	must(p.t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	must(p.t, err)
	return data
}
