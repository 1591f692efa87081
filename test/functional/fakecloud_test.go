// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// useFakeCloud gives the site a Cinder and a Glance of this process, in which the
// project is the one that there is.
func (s *site) useFakeCloud(project string) *storage.Cloud {
	s.t.Helper()
	c := storage.New(s.t)
	target, err := url.Parse(c.URL)
	must(s.t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.URL.Path = strings.Replace(r.Out.URL.Path, "/"+project, "/"+openstacktest.Project, 1)
	}}
	server := httptest.NewServer(http.Handler(proxy))
	s.t.Cleanup(server.Close)
	for _, service := range []string{"cinder", "glance"} {
		s.conf.set(service+"_client", service+"_endpoint", server.URL+"/"+service)
	}
	return c
}

// owner is a member of a project, who has logged in somewhere else.
func owner(project string) *requestcontext.RequestContext {
	return &requestcontext.RequestContext{
		UserID: uuid.NewString(), ProjectID: project, ProjectName: "demo", RequestID: "req-" + uuid.NewString(),
		AuthToken: "token-" + uuid.NewString(), AuthTokenInfo: json.RawMessage(`{"token": {}}`),
	}
}

// writeOriginalProvider writes a provider file with several plugins, all of which
// look often at what they wait for.
func (s *site) writeOriginalProvider(id, bankPlugin string, bankOptions ini, plugins []string) {
	s.t.Helper()
	options := ini{}
	maps.Copy(options, bankOptions)
	for _, group := range []string{"cinder_backup_protection_plugin", "volume_snapshot_plugin", "volume_glance_plugin", "image_backup_plugin"} {
		options.set(group, "poll_interval", "1")
	}
	text := fmt.Sprintf("[provider]\nid = %s\nname = of the original\nenabled = true\nbank = %s\n", id, bankPlugin)
	for _, plugin := range plugins {
		text += "plugin = " + plugin + "\n"
	}
	s.write("providers.d/"+id+".conf", text+options.String())
}
