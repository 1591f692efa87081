// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChecklist01_HostsWithTheirOwnCredentials(t *testing.T) {
	t.Parallel()
	got, err := ParseTransportURL("rabbit://u:p@h1:5672,u2:p2@h2:5673/vh")
	if err != nil {
		t.Fatal(err)
	}
	want := &TransportURL{Scheme: "rabbit", VirtualHost: "vh", Query: url.Values{}, Hosts: []Host{
		{Name: "h1", Port: 5672, User: "u", Password: "p"}, {Name: "h2", Port: 5673, User: "u2", Password: "p2"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChecklist02_DefaultsAndVirtualHosts(t *testing.T) {
	t.Parallel()
	guest := Host{Name: "h", Port: 5672, User: "guest", Password: "guest"}
	local := guest
	local.Name = "localhost"
	for text, want := range map[string]struct {
		host  Host
		vhost string
	}{
		"rabbit://":                {local, "/"},
		"rabbit://h":               {guest, "/"},
		"rabbit://h/":              {guest, "/"},
		"rabbit://h//":             {guest, "/"},
		"rabbit://h/%2F":           {guest, "/"},
		"rabbit://h/%2Fwire":       {guest, "/wire"},
		"rabbit://h//wire":         {guest, "/wire"},
		"rabbit:///v":              {local, "v"},
		"rabbit://h/a%2Fb":         {guest, "a/b"},
		"rabbit://h/a/b":           {guest, "a/b"},
		"rabbit://h/a%25b":         {guest, "a%b"},
		"rabbit://h/50%":           {guest, "50%"},
		"rabbit://,h,/v#fragment":  {guest, "v"},
		"kombu+amqp://h/v":         {guest, "v"},
		"rabbit://h:5672/v?ssl=1":  {guest, "v"},
		"rabbit://guest:@h:5672/v": {guest, "v"},
	} {
		u, err := ParseTransportURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff([]Host{want.host}, u.Brokers()); diff != "" || u.VirtualHost != want.vhost {
			t.Errorf("%s: virtual host %q, %s", text, u.VirtualHost, diff)
		}
	}
}

func TestChecklist03_CredentialsAreSplitAndDecodedOnce(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Host{
		"rabbit://u@dom:p@h/":          {Name: "h", User: "u@dom", Password: "p"},
		"rabbit://u:p:q@h/":            {Name: "h", User: "u", Password: "p:q"},
		"rabbit://u:p%40x%2Fy@h/":      {Name: "h", User: "u", Password: "p@x/y"},
		"rabbit://u:p%2540@h/":         {Name: "h", User: "u", Password: "p%40"},
		"rabbit://:p@h/":               {Name: "h", Password: "p"},
		"rabbit://u:p@[fe80::1]/v":     {Name: "fe80::1", User: "u", Password: "p"},
		"rabbit://u:p@[::1]:5673/v":    {Name: "::1", Port: 5673, User: "u", Password: "p"},
		"rabbit://%75:p%3F%23@h:1/":    {Name: "h", Port: 1, User: "u", Password: "p?#"},
		"rabbit://u:100%@h:65535/":     {Name: "h", Port: 65535, User: "u", Password: "100%"},
		"rabbit://u:%zz@h.example.org": {Name: "h.example.org", User: "u", Password: "%zz"},
	} {
		u, err := ParseTransportURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff([]Host{want}, u.Hosts); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if strings.Contains(u.String(), "p@") || strings.Contains(u.String(), ":p") {
			t.Errorf("%s shows its password: %s", text, u)
		}
	}
}

func TestChecklist05_ErrorsNameThePart(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{
		"":                                  "scheme",
		"h":                                 "scheme",
		"rabbits://u:secret@h/":             "scheme",
		"amqp://u:secret@h/":                "scheme",
		"kombu://u:secret@h/":               "scheme",
		"rabbit://u:secret@h1:notaport/":    "host 1: the port",
		"rabbit://h,u:secret@h1:0/":         "host 2: the port",
		"rabbit://u:secret@h1:70000/":       "the port",
		"rabbit://u:secret@[::1/":           "IPv6",
		"rabbit://u:secret@[::1]x/":         "IPv6",
		"rabbit://u:secret@h/?ssl=%zz":      "options",
		"rabbit://u:secret@h:/v":            "port",
		"rabbit://u:secret@fe80::1/":        "port",
		"rabbit://u:secret@h:5672:5673/sec": "port",
	} {
		_, err := ParseTransportURL(text)
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v, want one about %s", text, err, part)
		}
	}
	u, err := ParseTransportURL("rabbit://h/v?ssl=1&a=1&a=2")
	if err != nil || u.Brokers()[0].Port != 5672 || u.Query.Get("a") != "1,2" {
		t.Errorf("%v, %v", u, err)
	}
}

func FuzzTransportURL(f *testing.F) {
	for _, text := range []string{"rabbit://u:p@h1:5672,u2:p2@[::1]:5673/vh?ssl=1", "rabbit://", "rabbit://@:@/%", "rabbit://[/?#"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseTransportURL(text)
		if err != nil {
			return
		}
		if u.VirtualHost == "" || len(u.Brokers()) == 0 {
			t.Errorf("%q gives %+v", text, u)
		}
		for _, h := range u.Brokers() {
			if h.Port < 1 || h.Port > 65535 {
				t.Errorf("%q gives port %d", text, h.Port)
			}
		}
	})
}
