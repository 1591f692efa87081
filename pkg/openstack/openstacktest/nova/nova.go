// SPDX-License-Identifier: Apache-2.0

// Package nova is a Nova for tests, with a Neutron that provides the servers' ports,
// and the part of a Cinder that attached volumes need. A change shows only after a few
// looks, and requests that the real service refuses are refused.
// nova: api-ref/source, network/neutron.py, compute/api.py
package nova

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
)

// Cloud has servers, volumes and networks.
type Cloud struct {
	*neutron.Service
	// Looks is the number of looks at a server or volume that see it in transition; 2
	// by default.
	Looks int
	// PageSize bounds a page of the listing of servers; 1000 by default.
	PageSize int
	// Flavors, Images, KeyPairs and Zones are the names that a request may use.
	Flavors, Images, KeyPairs, Zones []string
	// Ephemeral is the size in GiB of the ephemeral disks of all flavors. ConfigDrive
	// reports whether all servers have a config drive.
	Ephemeral   int
	ConfigDrive bool
	// Fault, if set, makes the next servers end in status ERROR.
	Fault string
	// Newest is the newest minor microversion that the cloud supports; 0 means any.
	Newest int
	// Unattached makes attaching a volume have no effect.
	Unattached bool

	mu      sync.Mutex
	serial  int
	servers []*Server
	volumes []*Volume
	jobs    []*job
	refuses map[string]refusal
}

// Server is a server; tests may read it between the calls of a plugin.
type Server struct {
	ID, Name, Status, Fault string
	Flavor, Image, Key      string
	Zone                    string
	Metadata                map[string]string
	Groups                  []string
	Description             string // "" is the name
	Tags                    []string
	Locked                  bool

	Deleting bool

	made []string // ids of ports that Nova made
	kept []string // ids of ports that were there
	root string   // id of the volume that it was booted from
}

// Volume is a volume; tests may read it between the calls of a plugin.
type Volume struct {
	ID, Name, Status string
	Bootable         bool
	Multiattach      bool
	ServerID, Device string // "" unless attached
}

// job is a change in progress.
type job struct {
	id    string // of what is looked at
	looks int
	end   func()
}

type refusal struct {
	status int
	body   string
	once   bool
	obeyed bool // it is done all the same
}

// New starts a cloud that ends with the test.
func New(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{
		Service: neutron.New(t), Looks: 2, PageSize: 1000,
		Flavors: []string{"1", "2"}, Zones: []string{"nova"}, refuses: map[string]refusal{},
	}
	base := openstacktest.Nova
	c.handle("GET "+base+"/servers/detail", c.listServers)
	c.handle("GET "+base+"/servers/{id}", c.showServer)
	c.handle("POST "+base+"/servers", c.createServer)
	c.handle("PUT "+base+"/servers/{id}", c.changeServer)
	c.handle("PUT "+base+"/servers/{id}/tags", c.tagServer)
	c.handle("DELETE "+base+"/servers/{id}", c.deleteServer)
	c.handle("GET "+base+"/servers/{id}/os-volume_attachments", c.listAttachments)
	c.handle("POST "+base+"/servers/{id}/os-volume_attachments", c.attach)
	c.handle("GET "+base+"/flavors/{id}", c.showFlavor)
	c.handle("GET "+base+"/os-keypairs/{name}", c.showKeyPair)
	c.handle("GET "+base+"/os-availability-zone", c.listZones)
	base = openstacktest.Cinder
	c.handle("GET "+base+"/volumes/detail", c.listVolumes)
	c.handle("GET "+base+"/volumes/{id}", c.showVolume)
	c.handle("POST "+base+"/volumes/{id}/action", c.actOnVolume)
	return c
}

// Refuse answers all calls with a method and the end of a path, such as "POST
// /servers", with an error of Nova.
func (c *Cloud) Refuse(call string, status int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := json.Marshal(fault(status, message))
	c.refuses[call] = refusal{status: status, body: string(body)}
}

// FailOnce answers the next such call with an internal error; done reports whether the
// call is carried out all the same.
func (c *Cloud) FailOnce(call string, done bool) {
	c.Refuse(call, http.StatusInternalServerError, "Unexpected API Error.")
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.refuses[call]
	r.once, r.obeyed = true, done
	c.refuses[call] = r
}

// AddServer adds a running server of flavor 1 with these ports and volumes. The first
// volume is its root if image is "".
func (c *Cloud) AddServer(name, image string, ports []neutron.Thing, volumes ...*Volume) *Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Server{ID: c.newID(), Name: name, Status: "ACTIVE", Flavor: "1", Image: image, Zone: "nova", Metadata: map[string]string{}, Groups: []string{"default"}}
	for _, port := range ports {
		if err := c.Bind(port.ID(), s.ID); err != nil {
			panic(err)
		}
		s.kept = append(s.kept, port.ID())
	}
	device := 'a'
	if image != "" {
		device = 'b' // after the root
	}
	for i, v := range volumes {
		v.ServerID, v.Device, v.Status = s.ID, "/dev/vd"+string(device+rune(i)), "in-use"
	}
	c.servers = append(c.servers, s)
	return s
}

// AddVolume adds an available volume.
func (c *Cloud) AddVolume(name string, bootable bool) *Volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &Volume{ID: c.newID(), Name: name, Status: "available", Bootable: bootable}
	c.volumes = append(c.volumes, v)
	return v
}

// Servers returns all servers.
func (c *Cloud) Servers() []Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Server
	for _, s := range c.servers {
		all = append(all, *s)
	}
	return all
}

// Volume returns the present state of a volume.
func (c *Cloud) Volume(id string) Volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.volume(id)
}

// Destroy removes a server and everything that belongs to it, at once.
func (c *Cloud) Destroy(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone(c.server(id))
}

func (c *Cloud) server(id string) *Server {
	for _, s := range c.servers {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (c *Cloud) volume(id string) *Volume {
	for _, v := range c.volumes {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// gone ends a server: its volumes become free, and so do ports that it did not create.
func (c *Cloud) gone(s *Server) {
	c.servers = slices.DeleteFunc(c.servers, func(other *Server) bool { return other == s })
	for _, v := range c.volumes {
		if v.ServerID == s.ID {
			v.ServerID, v.Device, v.Status = "", "", "available"
		}
	}
	for _, id := range s.made {
		c.Release(id, true)
	}
	for _, id := range s.kept {
		c.Release(id, false)
	}
}

// Inventory lists all resources without ids.
func (c *Cloud) Inventory(ctx context.Context) ([]string, error) {
	there, err := c.Service.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.servers {
		text := fmt.Sprintf("server %q %s flavor %s image %q key %q zone %q", s.Name, s.Status, s.Flavor, s.Image, s.Key, s.Zone)
		for _, nic := range c.Nics(s.ID) {
			text += fmt.Sprintf(" %s %v %v", nic.Network, nic.Fixed, nic.Floating)
		}
		there = append(there, text)
	}
	for _, v := range c.volumes {
		text := fmt.Sprintf("volume %q %s %s", v.Name, v.Status, v.Device)
		if s := c.server(v.ServerID); s != nil {
			text += " of " + s.Name
		}
		there = append(there, text)
	}
	return there, nil
}

// start schedules a change after a few looks.
func (c *Cloud) start(id string, end func()) {
	c.jobs = append(c.jobs, &job{id: id, looks: c.Looks, end: end})
}

// look is one look at something.
func (c *Cloud) look(id string) {
	for _, j := range slices.Clone(c.jobs) {
		if j.id != id {
			continue
		}
		if j.looks--; j.looks <= 0 {
			c.jobs = slices.DeleteFunc(c.jobs, func(other *job) bool { return other == j })
			j.end()
		}
	}
}

// handle answers a pattern under the lock, unless the call is refused.
func (c *Cloud) handle(pattern string, h http.HandlerFunc) {
	c.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if minor := openstacktest.Minor(r); c.Newest > 0 && minor > c.Newest {
			refuse(w, http.StatusNotAcceptable, "Version 2.%d is not supported by the API. Minimum is 2.1 and maximum is 2.%d.", minor, c.Newest)
			return
		}
		for call, refused := range c.refuses {
			method, end, _ := strings.Cut(call, " ")
			if r.Method == method && strings.HasSuffix(r.URL.Path, end) {
				if refused.once {
					delete(c.refuses, call)
				}
				if refused.obeyed {
					h(httptest.NewRecorder(), r)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(refused.status)
				_, _ = w.Write([]byte(refused.body))
				return
			}
		}
		h(w, r)
	})
}

// newID returns consecutive ids, so that the same world has the same ids.
func (c *Cloud) newID() string {
	c.serial++
	return fmt.Sprintf("0e0f0c0b-0000-4000-8000-%012x", c.serial)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fault(status int, message string) map[string]any {
	name := map[int]string{
		http.StatusBadRequest: "badRequest", http.StatusForbidden: "forbidden", http.StatusNotFound: "itemNotFound", http.StatusConflict: "conflictingRequest",
	}[status]
	if name == "" {
		name = "computeFault"
	}
	return map[string]any{name: map[string]any{"code": status, "message": message}}
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, fault(status, fmt.Sprintf(format, args...)))
}
