// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// patience bounds every wait for the cloud. It is long because test machines can be
// slow; a working cloud never comes near it.
const patience = 30 * time.Minute

const pause = 200 * time.Millisecond

// Make creates a resource and returns its id without waiting. The body is as documented
// in the kind's API, without the outer member:
//
//	p.Make(openstacktest.Volume, map[string]any{"size": 1, "name": "slow-create-5"})
func (p *RealProject) Make(k Kind, body map[string]any) string {
	p.t.Helper()
	var made map[string]any
	must(p.t, p.call(p.ctx, k, "POST", k.path, wrapped(k, body), &made))
	if k.member != "" {
		made, _ = made[k.member].(map[string]any)
	}
	if id, ok := made["id"].(string); ok {
		return id
	}
	name, _ := made["name"].(string)
	return name
}

// Create is Make followed by a wait until the resource is usable.
func (p *RealProject) Create(k Kind, body map[string]any) string {
	p.t.Helper()
	id := p.Make(k, body)
	if k.ready != "" {
		p.Await(k, id, k.ready)
	}
	return id
}

// Update changes a resource with PUT, as documented in its API.
func (p *RealProject) Update(k Kind, id string, body map[string]any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, k, "PUT", k.path+"/"+url.PathEscape(id), wrapped(k, body), nil))
}

// Act posts an action to a resource and decodes the answer into answer, unless
// that is nil.
func (p *RealProject) Act(k Kind, id, action string, body, answer any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, k, "POST", k.path+"/"+url.PathEscape(id)+"/action", map[string]any{action: body}, answer))
}

// Delete removes a resource and waits until it is gone.
func (p *RealProject) Delete(k Kind, id string) {
	p.t.Helper()
	must(p.t, p.remove(p.ctx, k, id))
	p.Await(k, id)
}

// Await waits until a resource has one of the statuses or, if none is given, until the
// resource is gone. Any status with "error" in it ends the test unless it is one of the
// statuses.
func (p *RealProject) Await(k Kind, id string, statuses ...string) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for {
		shown, err := p.show(k, id)
		status, _ := shown["status"].(string)
		switch {
		case openstack.IsNotFound(err) && len(statuses) == 0:
			return
		case err != nil:
			p.t.Fatal(err)
		case contains(statuses, status):
			return
		case strings.Contains(strings.ToLower(status), "error"), time.Now().After(end):
			p.t.Fatalf("%s %s is %s, not %s: %v", k.name, id, status, strings.Join(statuses, " or "), shown)
		}
		time.Sleep(pause)
	}
}

// until polls a condition.
func (p *RealProject) until(satisfied func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !satisfied(); time.Sleep(pause) {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s in vain", patience)
		}
	}
}

func contains(statuses []string, status string) bool {
	for _, s := range statuses {
		if strings.EqualFold(s, status) {
			return true
		}
	}
	return false
}

func wrapped(k Kind, body map[string]any) map[string]any {
	if k.member == "" {
		return body
	}
	return map[string]any{k.member: body}
}

func (p *RealProject) remove(ctx context.Context, k Kind, id string) error {
	return p.call(ctx, k, "DELETE", k.path+"/"+url.PathEscape(id), nil, nil)
}

// call is one request to the service of a kind.
func (p *RealProject) call(ctx context.Context, k Kind, method, path string, body, answer any) error {
	client, err := k.service.client(p.Factory, ctx)
	if err != nil {
		return err
	}
	options := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 204}, KeepResponseBody: answer == nil}
	if body != nil {
		options.JSONBody = body
	}
	if answer != nil {
		options.JSONResponse = answer
	}
	response, err := client.Request(ctx, method, client.ServiceURL(path), options)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer == nil {
		return response.Body.Close()
	}
	return nil
}

// PublicImage returns the id of a public image, such as "tiny".
func (p *RealProject) PublicImage(name string) string {
	p.t.Helper()
	return p.named(Image, "images", name)
}

// PublicNetwork returns the id of the external network.
func (p *RealProject) PublicNetwork() string {
	p.t.Helper()
	return p.named(Network, "networks", "public")
}

// Flavor returns the id of a flavor, such as m1.nano, m1.tiny and m1.small.
func (p *RealProject) Flavor(name string) string {
	p.t.Helper()
	return p.named(Kind{service: nova, list: "flavors"}, "flavors", name)
}

func (p *RealProject) named(k Kind, path, name string) string {
	p.t.Helper()
	client, err := k.service.client(p.Factory, p.ctx)
	must(p.t, err)
	items, err := openstack.List[item](p.ctx, client, path, k.list, url.Values{"name": {name}})
	must(p.t, err)
	for _, i := range items {
		if i.Name == name {
			return i.ID
		}
	}
	p.t.Fatalf("%s: there is no %q", path, name)
	return ""
}

// CreateNetwork creates a network with one subnet, 10.7.0.0/24, and returns the ids.
func (p *RealProject) CreateNetwork(name string) (network, subnet string) {
	p.t.Helper()
	network = p.Create(Network, map[string]any{"name": name})
	subnet = p.Create(Subnet, map[string]any{"network_id": network, "name": name, "ip_version": 4, "cidr": "10.7.0.0/24"})
	return network, subnet
}

// CreateServer creates a server of flavor m1.nano in a network. more holds further
// members of the request, such as imageRef or block_device_mapping_v2, or other
// networks.
func (p *RealProject) CreateServer(name, network string, more map[string]any) string {
	p.t.Helper()
	body := map[string]any{"name": name, "flavorRef": p.Flavor("m1.nano"), "networks": []any{map[string]any{"uuid": network}}}
	for key, value := range more {
		body[key] = value
	}
	return p.Create(Server, body)
}

// Attach attaches a volume to a server and waits for it.
func (p *RealProject) Attach(serverID, volumeID string) {
	p.t.Helper()
	body := map[string]any{"volumeAttachment": map[string]any{"volumeId": volumeID}}
	must(p.t, p.call(p.ctx, Server, "POST", "servers/"+serverID+"/os-volume_attachments", body, nil))
	p.Await(Volume, volumeID, "in-use")
}

// Detach detaches a volume from a server and waits for it.
func (p *RealProject) Detach(serverID, volumeID string) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, Server, "DELETE", "servers/"+serverID+"/os-volume_attachments/"+volumeID, nil, nil))
	p.Await(Volume, volumeID, "available")
}

// CreateServerImage makes an image of a server, waits for it and returns its id.
func (p *RealProject) CreateServerImage(serverID, name string) string {
	p.t.Helper()
	p.Act(Server, serverID, "createImage", map[string]any{"name": name}, nil)
	// The answer names the image only in a header; no other image of the project has
	// that name.
	id := p.named(Image, "images", name)
	p.Await(Image, id, "active")
	// The image is ready shortly before the server accepts the next action.
	p.until(func() bool { return p.Show(Server, serverID)["OS-EXT-STS:task_state"] == nil })
	return id
}

// Plug connects a router to a subnet, at the address of its gateway.
func (p *RealProject) Plug(routerID, subnetID string) {
	p.t.Helper()
	p.connect(routerID, map[string]any{"subnet_id": subnetID})
}

// PlugPort attaches a port to a router, at the port's address.
func (p *RealProject) PlugPort(routerID, portID string) {
	p.t.Helper()
	p.connect(routerID, map[string]any{"port_id": portID})
}

func (p *RealProject) connect(routerID string, at map[string]any) {
	p.t.Helper()
	must(p.t, p.call(p.ctx, Router, "PUT", "routers/"+routerID+"/add_router_interface", at, nil))
}

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

// swift returns a client of the project's account, nil without Swift.
func (p *RealProject) swift() *gophercloud.ServiceClient {
	if os.Getenv("KARBOR_TEST_SWIFT") == "" {
		return nil
	}
	for _, s := range p.Caller.ServiceCatalog {
		if s.Type == "object-store" && len(s.Endpoints) > 0 {
			return plainClient(p.t, s.Endpoints[0].PublicURL, p.Caller.AuthToken)
		}
	}
	return nil
}

// containers returns the names of the account's containers.
func (p *RealProject) containers() []string {
	client := p.swift()
	if client == nil {
		return nil
	}
	return p.names(client, client.Endpoint)
}

// Objects returns the names of a container's objects, such as those of volume
// backups. More than 10,000 are cut off.
func (p *RealProject) Objects(container string) []string {
	client := p.swift()
	return p.names(client, client.ServiceURL(url.PathEscape(container)))
}

func (p *RealProject) names(client *gophercloud.ServiceClient, address string) []string {
	p.t.Helper()
	var listed []struct{ Name string }
	_, err := client.Get(p.ctx, address+"?format=json", &listed, &gophercloud.RequestOpts{OkCodes: []int{200, 204}})
	if openstack.IsNotFound(err) {
		return nil // an account exists once something was put there
	}
	must(p.t, err)
	names := []string{}
	for _, l := range listed {
		names = append(names, l.Name)
	}
	return names
}

// RemoveContainer removes a container and its objects.
func (p *RealProject) RemoveContainer(name string) {
	client := p.swift()
	for _, object := range p.Objects(name) {
		_, err := client.Delete(p.ctx, client.ServiceURL(url.PathEscape(name), (&url.URL{Path: object}).EscapedPath()), nil)
		if err != nil && !openstack.IsNotFound(err) {
			p.t.Errorf("remove object %s: %v", object, err)
		}
	}
	if _, err := client.Delete(p.ctx, client.ServiceURL(url.PathEscape(name)), nil); err != nil && !openstack.IsNotFound(err) {
		p.t.Errorf("remove container %s: %v", name, err)
	}
}

// Noise returns random bytes, different for each call.
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

// held is one resource of a project.
type held struct {
	kind Kind
	item
}

type item struct {
	ID          string
	Name        string
	Status      string
	DeviceOwner string `json:"device_owner"` // of a port
	DeviceID    string `json:"device_id"`    // the same
	KeyPair     *item  // a listing of key pairs wraps each
}

func (h held) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", h.kind.name, h.ID, h.Name, h.Status)), " ")
}

// Inventory returns a line for each resource of the project, sorted: kind, id, name and
// status. For containers the number of objects takes the place of the status. The
// default security group, which the cloud makes for every project, is omitted, as are
// services whose variables are not set.
func (p *RealProject) Inventory() []string {
	p.t.Helper()
	all, err := p.held()
	must(p.t, err)
	lines := []string{}
	for _, h := range all {
		lines = append(lines, h.String())
	}
	for _, name := range p.containers() {
		lines = append(lines, fmt.Sprintf("container %s of %d objects", name, len(p.Objects(name))))
	}
	slices.Sort(lines)
	return lines
}

var ids = regexp.MustCompile(` [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Holdings is an Inventory without ids, for comparison with newly created resources.
// Empty containers made by a service are omitted.
func (p *RealProject) Holdings() []string {
	p.t.Helper()
	lines := slices.DeleteFunc(p.Inventory(), func(line string) bool {
		return strings.HasPrefix(line, "container ") && strings.HasSuffix(line, " of 0 objects")
	})
	for i, line := range lines {
		lines[i] = ids.ReplaceAllString(line, "")
	}
	slices.Sort(lines)
	return lines
}

func (p *RealProject) held() ([]held, error) {
	var all []held
	for _, k := range kinds {
		if os.Getenv(k.service.variable) == "" {
			continue
		}
		items, err := p.listKind(p.ctx, k)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			if k.name != SecurityGroup.name || i.Name != "default" {
				all = append(all, held{k, i})
			}
		}
	}
	return all, nil
}

func (p *RealProject) listKind(ctx context.Context, k Kind) ([]item, error) {
	client, err := k.service.client(p.Factory, ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if k.filter != "" {
		query.Set(k.filter, p.ID())
	}
	items, err := openstack.List[item](ctx, client, k.listed(), k.list, query)
	for i := range items {
		if pair := items[i].KeyPair; pair != nil {
			items[i] = item{ID: pair.Name} // its name is what it goes by
		}
	}
	return items, err
}

// List returns the project's resources of a kind, as their service describes them, that
// match all properties, given as names and values in turn.
func (p *RealProject) List(k Kind, properties ...string) []map[string]any {
	p.t.Helper()
	client, err := k.service.client(p.Factory, p.ctx)
	must(p.t, err)
	query := url.Values{}
	if k.filter != "" {
		query.Set(k.filter, p.ID())
	}
	for i := 0; i+1 < len(properties); i += 2 {
		query.Add(properties[i], properties[i+1])
	}
	found, err := openstack.List[map[string]any](p.ctx, client, k.listed(), k.list, query)
	must(p.t, err)
	return found
}

// Only returns the id of the only resource of a kind.
func (p *RealProject) Only(k Kind) string {
	p.t.Helper()
	items, err := p.listKind(p.ctx, k)
	must(p.t, err)
	if len(items) != 1 {
		p.t.Fatalf("%d of kind %s", len(items), k.name)
	}
	return items[0].ID
}

// Show returns a resource as its service describes it.
func (p *RealProject) Show(k Kind, id string) map[string]any {
	p.t.Helper()
	shown, err := p.show(k, id)
	must(p.t, err)
	return shown
}

func (p *RealProject) show(k Kind, id string) (map[string]any, error) {
	client, err := k.service.client(p.Factory, p.ctx)
	if err != nil {
		return nil, err
	}
	shown, err := openstack.Show[map[string]any](p.ctx, client, k.path, id, k.member)
	if err != nil {
		return nil, err
	}
	return *shown, nil
}
