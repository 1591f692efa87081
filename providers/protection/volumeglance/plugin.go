// SPDX-License-Identifier: Apache-2.0

// Package volumeglance protects Cinder's volumes without a Cinder backup service:
// Cinder uploads the volume to Glance as an image, whose data is copied into the
// bank. From there it comes back as an image, and the image as a volume.
package volumeglance

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-volume-glance-plugin",
	protection.ClassPrefix + "volume.volume_glance_plugin.VolumeGlanceProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Volume Glance Backup", Verified: "Volume backup", Objects: []string{volume.PropertiesKey}, Schemas: schemas}

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/utils.py
const pieceSize = 65536

const group = "volume_glance_plugin"

// Options are read from the provider file.
var Options = append(poll.ConfigOptions(group, "the status of volumes, snapshots and images", 15*time.Second, poll.Week),
	config.Option{Group: group, Name: "backup_from_snapshot", Kind: config.Bool, Default: true, Help: "Upload a temporary volume made from a snapshot, not the volume itself."},
	config.Option{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 512 * pieceSize, Help: "Bytes of one object of volume data in the bank, rounded down to a multiple of 65536."},
)

// Config is the section of the provider file.
type Config struct {
	poll.Config
	FromSnapshot bool
	ObjectSize   int // bytes of one data object
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Config:       poll.FromConfig(cfg, group),
		FromSnapshot: cfg.Bool(group, "backup_from_snapshot"),
		ObjectSize:   cfg.Int(group, "backup_image_object_size"),
	}
}

// Clients makes Cinder and Glance clients for the caller of a context.
type Clients interface {
	volume.Clients
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg    Config
	cinder *remote.Client
	glance *imagedata.Client
	newID  func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	cfg.ObjectSize = max(cfg.ObjectSize/pieceSize, 1) * pieceSize
	return &Plugin{
		cfg:    cfg,
		cinder: remote.NewClient(cfg.Config, clients.BlockStorage),
		glance: imagedata.NewClient(cfg.Config, clients.Image),
		newID:  uuid.NewString,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Cinder::Volume.
func (*Plugin) Types() []string { return []string{resource.Volume} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one volume. In the original these backups cannot
// be copied, though all that they are is in the bank.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.backUp, p.cleanBackUp), Undo: frame.Delete(p.undoProtect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore), Plan: frame.Plan(p.plan)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("volume", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	case protection.Copy:
		return frame.Copy(imagedata.KnownObjects), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*remote.Session
	glance           *imagedata.Glance
	state            protectState
	snapshot, volume *remote.Request
}

// protectState is what a second run of a protect knows of the first. All but what
// is Stored is temporary.
type protectState struct {
	Snapshot remote.Created `json:"snapshot"`
	Volume   remote.Created `json:"volume"`
	Image    remote.Created `json:"image"`
	// Stored: data and metadata are in the bank, whole.
	Stored bool `json:"stored,omitempty"`
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	b := &protecting{}
	var err error
	if b.Session, err = p.cinder.Begin(ctx, c, &b.state); err != nil {
		return nil, err
	}
	if b.glance, err = p.glance.For(ctx); err != nil {
		return nil, err
	}
	b.snapshot = volume.Copy(b.Session, volume.Snapshots, &b.state.Snapshot)
	b.volume = volume.New(b.Session, remote.MarksOf(c).Temporary(), &b.state.Volume)
	return b, nil
}

// backUp copies the volume into the bank, by way of a snapshot of it, a volume
// made from that, and an image made from that. Whatever comes of it, these are
// removed.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Stored {
		if err := p.store(ctx, b); err != nil {
			return err
		}
		b.state.Stored = true
		if err := b.Save(); err != nil {
			return err
		}
	}
	err = b.tidy(ctx)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, "the temporary snapshot, volume or image", err) // the backup is worth more than these
		return nil
	}
	return err
}

func (p *Plugin) store(ctx context.Context, b *protecting) error {
	c, id := b.Call, b.Call.Resource.ID
	if !b.state.Snapshot.Asked && !b.state.Image.Asked {
		if err := b.Await(ctx, volume.Volumes, id, volume.Usable, nil); err != nil {
			return hook.Instead("Volume is in erroneous state", err)
		}
	}
	properties, err := volume.Describe(ctx, b.Session)
	if err != nil {
		return err
	}
	if properties.Encrypted {
		return &hook.Failure{Text: "The volume is encrypted: its data would be kept without the key, which is gone with the temporary image"}
	}
	about := metadata{VolumeID: id, Size: properties.Size}
	if p.cfg.FromSnapshot {
		if err := b.fork(ctx); err != nil {
			return err
		}
		id, about.Size = b.state.Volume.ID, b.state.Snapshot.Size
	}
	if err := b.upload(ctx, id); err != nil {
		return err
	}
	image, err := b.glance.Image(ctx, b.state.Image.ID)
	if err != nil {
		return err
	}
	imagedata.RemarkUnkept(c, image)
	about.Image = imageMetadata{Checksum: image.Checksum, DiskFormat: image.DiskFormat, ContainerFormat: image.ContainerFormat}
	if about.Chunks, err = b.glance.BackUp(ctx, c, image, p.cfg.ObjectSize); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, about)
}

// fork makes a volume like the one that is protected.
func (b *protecting) fork(ctx context.Context) error {
	b.snapshot.Body["force"], b.snapshot.Body["name"] = true, "temporary_snapshot_of_"+b.Call.Resource.ID
	entitle(b.snapshot)
	if err := b.snapshot.Create(ctx); err != nil {
		return err
	}
	snapshot := b.state.Snapshot
	if !b.state.Volume.Asked {
		if err := b.snapshot.AwaitReady(ctx, nil); err != nil {
			return hook.InStatus("The status of snapshot is %s", "Unable to find volume snapshot.", err)
		}
	}
	b.volume.Body = map[string]any{"size": snapshot.Size, "snapshot_id": snapshot.ID, "name": "temporary_volume_of_" + snapshot.ID}
	entitle(b.volume)
	if err := b.volume.Create(ctx); err != nil {
		return err
	}
	if !b.state.Image.Asked {
		if err := b.volume.AwaitReady(ctx, nil); err != nil {
			return hook.InStatus("Invalid status: %s of temporary volume.", "Invalid status: not-found of temporary volume.", err)
		}
	}
	return nil
}

// entitle adds to something temporary what the user calls the backup, for those who
// see it at Cinder. In the original the two parameters do nothing.
func entitle(r *remote.Request) {
	if name, ok := r.Call.Parameters.String("backup_name"); ok {
		r.Body["metadata"] = remote.Marks{"backup_name": name}
	}
	if description, ok := r.Call.Parameters.String("description"); ok {
		r.Body["description"] = description
	}
}

// imageName is the name of the temporary image, by which a second run finds it:
// Cinder makes it, and lets the caller choose nothing else. It is the
// original's name, unless the volume itself is uploaded, which checkpoints may do at the
// same time.
func imageName(c *protection.Call, volumeID string) string {
	if volumeID != "" {
		return "temporary_image_of_" + volumeID
	}
	return "temporary_image_of_" + c.Resource.ID + "_" + c.Checkpoint.ID()
}

// upload makes an image of a volume and waits for it.
func (b *protecting) upload(ctx context.Context, source string) error {
	name, created := imageName(b.Call, b.state.Volume.ID), &b.state.Image
	created.Uncertain = created.Uncertain || b.Call.State == nil
	err := remote.Once(ctx, created, b.Save, func(ctx context.Context) ([]remote.Created, error) {
		images, err := b.glance.Images(ctx, url.Values{"name": {name}})
		found := make([]remote.Created, len(images))
		for n, i := range images {
			found[n] = remote.Created{ID: i.ID}
		}
		return found, err
	}, func(ctx context.Context) (remote.Created, error) {
		id, err := b.uploadImage(ctx, source, name)
		return remote.Created{ID: id}, err
	})
	if err != nil {
		return err
	}
	err = b.glance.Await(ctx, created.ID)
	return hook.InStatus("Invalid status: %s of temporary image.", "Invalid status: not-found of temporary image.", err)
}

// uploadImage asks Cinder to upload a volume and returns the id of the image.
// cinder: POST /v3/{project}/volumes/{id}/action os-volume_upload_image
func (b *protecting) uploadImage(ctx context.Context, source, name string) (string, error) {
	body := map[string]any{"os-volume_upload_image": map[string]any{
		"force": true, "image_name": name, "container_format": "bare", "disk_format": "raw", "visibility": "private", "protected": false,
	}}
	var answer struct {
		Upload struct {
			ImageID string `json:"image_id"`
		} `json:"os-volume_upload_image"`
	}
	_, err := b.Post(ctx, b.ServiceURL("volumes", url.PathEscape(source), "action"), body, &answer, &gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	if err != nil {
		return "", fmt.Errorf("uploading volume %s: %w", source, err)
	}
	if answer.Upload.ImageID == "" {
		return "", fmt.Errorf("uploading volume %s: the answer does not name the image", source)
	}
	return answer.Upload.ImageID, nil
}

// tidy removes temporary things, users before the things that they use.
func (b *protecting) tidy(ctx context.Context) error {
	var err error
	if b.state.Image.Asked || b.Call.State == nil {
		err = b.removeImages(ctx, b.state.Volume.ID, b.state.Image.ID)
	}
	return hook.Join(err, b.volume.Remove(ctx), b.snapshot.Remove(ctx))
}

// removeImages removes the temporary images that are made of a volume, and the known
// one, if any.
func (b *protecting) removeImages(ctx context.Context, volumeID, known string) error {
	name := imageName(b.Call, volumeID)
	if err := b.glance.RemoveAll(ctx, url.Values{"name": {name}}, known); err != nil {
		return &hook.Failure{Text: fmt.Sprintf("image %s may be left behind: %s", name, hook.Reason(err)), Err: err}
	}
	return nil
}

// cleanBackUp removes what is temporary, and waits for the end of an upload of the
// volume itself, which goes on without its image for a while.
func (p *Plugin) cleanBackUp(ctx context.Context, c *protection.Call, _ error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	err = b.tidy(ctx)
	if !b.state.Image.Asked || b.state.Volume.Asked {
		return err
	}
	uploaded := b.Await(ctx, volume.Volumes, c.Resource.ID, poll.Statuses{
		Success: []string{"available", "in-use", poll.NotFound}, Ignore: []string{"uploading"},
	}, nil)
	if hook.StatusOf(uploaded) != "" {
		uploaded = nil // it does something else by now
	}
	return hook.Join(err, uploaded)
}

// undoProtect undoes a protect: it removes temporary things and the objects in the bank.
func (p *Plugin) undoProtect(ctx context.Context, c *protection.Call, was string) error {
	if err := p.cleanBackUp(ctx, c, nil); err != nil {
		return err
	}
	return imagedata.Purge(ctx, c, was)
}

// remove deletes what is in the bank, and of a protect that was not finished what
// is temporary.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	if hook.Unfinished(was) {
		if err := p.sweep(ctx, c); err != nil {
			return err
		}
	}
	return imagedata.Purge(ctx, c, was)
}

// sweep removes what is temporary of a protect whose state is not known any more.
// An image is removed before the volume that it was made of, so that its name can
// be told from the latter.
func (p *Plugin) sweep(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	b.state = protectState{}
	volumes, err := b.volume.Find(ctx)
	failures := []error{err, b.removeImages(ctx, "", "")}
	for _, v := range volumes {
		failures = append(failures, b.removeImages(ctx, v.ID, ""))
	}
	return hook.Join(append(failures, b.volume.DeleteMatching(ctx), b.snapshot.DeleteMatching(ctx))...)
}
