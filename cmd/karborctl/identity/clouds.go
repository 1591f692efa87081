// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/cmd/karborctl/document"
)

// entry is a cloud as openstacksdk understands clouds.yaml: what its profile, its
// region and secure.yaml say is in it, keys have underscores, and everything that a
// login needs is in auth. Values are as they were written, since only those that are
// used have to make sense.
//
// openstacksdk: config/loader.py OpenStackConfig
type entry struct {
	name   string
	auth   map[string]string
	config map[string]any // the rest
}

// Keys of a login.
var authKeys = []string{"auth_url", "username", "user_id", "password", "user_domain_id", "user_domain_name",
	"project_id", "project_name", "project_domain_id", "project_domain_name", "domain_id", "domain_name",
	"default_domain_id", "default_domain_name", "trust_id", "system_scope", "token", "passcode",
	"application_credential_id", "application_credential_name", "application_credential_secret", "endpoint"}

// renamedKeys are the older names of keys, the later ones winning over the earlier.
var renamedKeys = []struct {
	name  string
	older []string
}{
	{"project_id", []string{"tenant_id"}}, {"project_name", []string{"tenant_name"}},
	{"token", []string{"auth_token"}}, {"username", []string{"user_name"}},
}

// file returns the first file of a kind that can be read.
func (o Options) file(name, override string) (path string, content map[string]any, err error) {
	var paths []string
	if override != "" {
		paths = append(paths, override)
	}
	for _, dir := range o.folders() {
		for _, suffix := range []string{".yaml", ".yml", ".json"} {
			paths = append(paths, filepath.Join(dir, name+suffix))
		}
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		whole, err := document.YAML(text) // JSON is YAML
		if err != nil {
			return path, nil, fmt.Errorf("reading %s: it is not YAML%s", path, lineOf(err))
		}
		content, ok := whole.(map[string]any)
		if !ok && whole != nil {
			return path, nil, fmt.Errorf("reading %s: it is not a mapping", path)
		}
		return path, content, nil
	}
	return "", nil, nil
}

// lineOf returns where a YAML error is, without what stands there: it may be secret.
func lineOf(err error) string {
	if at := regexp.MustCompile(`line [0-9]+`).FindString(err.Error()); at != "" {
		return " (" + at + ")"
	}
	return ""
}

// folders returns the folders that openstacksdk looks in.
func (o Options) folders() []string {
	home := o.Getenv("HOME")
	config := filepath.Join(home, ".config")
	own := o.Getenv("XDG_CONFIG_HOME")
	if own == "" {
		own = config
	}
	if snap := o.Getenv("SNAP_REAL_HOME"); snap != "" {
		config = filepath.Join(snap, ".config")
	}
	site := o.Getenv("XDG_CONFIG_DIRS")
	if site == "" {
		site = "/etc/xdg"
	}
	return []string{".", filepath.Join(own, "openstack"), filepath.Join(config, "openstack"), filepath.Join(site, "openstack"), "/etc/openstack"}
}

// cloud reads the entry of that name, or of the environment.
func (o Options) cloud(name string) (*entry, error) {
	path, content, err := o.file("clouds", o.Getenv("OS_CLIENT_CONFIG_FILE"))
	if err != nil {
		return nil, err
	}
	_, secure, err := o.file("secure", o.Getenv("OS_CLIENT_SECURE_FILE"))
	if err != nil {
		return nil, err
	}
	clouds := mapping(merged(content, secure)["clouds"])
	own := o.Getenv("OS_CLOUD_NAME")
	if own == "" {
		own = envCloud
	}
	switch _, inFile := clouds[own]; {
	case inFile:
		return nil, fmt.Errorf("%s has a cloud named %s, which is the name of the one that the OS_* variables describe", path, own)
	case name == own:
		clouds = map[string]any{own: o.environment()}
	}
	given, ok := clouds[name]
	if !ok {
		known := slices.Sorted(maps.Keys(clouds))
		if path == "" {
			return nil, fmt.Errorf("cloud %s: there is no clouds.yaml", name)
		}
		return nil, fmt.Errorf("cloud %s is not in %s, which has: %s", name, path, strings.Join(known, ", "))
	}
	if _, ok := given.(map[string]any); !ok && given != nil {
		return nil, fmt.Errorf("cloud %s in %s is not a mapping", name, path)
	}
	return o.entry(name, own, mapping(given))
}

// entry merges all settings of a cloud.
func (o Options) entry(name, own string, given map[string]any) (*entry, error) {
	config := map[string]any{"auth_type": "password", "interface": "public"}
	// "cloud" is an old name of "profile".
	profile, ok := given["profile"]
	if !ok {
		profile = given["cloud"]
	}
	if profile, _ := profile.(string); profile != "" && profile != own {
		_, public, err := o.file("clouds-public", "")
		if err != nil {
			return nil, err
		}
		update(config, mapping(mapping(public["public-clouds"])[profile]))
	}
	update(config, given)
	region, err := regionOf(name, underscored(given), config)
	if err != nil {
		return nil, err
	}
	for key, value := range region {
		if value != nil {
			update(config, map[string]any{key: value})
		}
	}
	e := &entry{name: name, auth: map[string]string{}, config: underscored(config)}
	e.gather()
	return e, nil
}

// regionOf returns what the first region of a cloud adds to it.
func regionOf(name string, given, config map[string]any) (map[string]any, error) {
	regions := given["regions"]
	if regions == nil {
		regions = given["region_name"]
	}
	if regions == nil {
		if regions = config["regions"]; regions == nil {
			regions = config["region_name"]
		}
	}
	list, ok := regions.([]any)
	if text, isText := regions.(string); isText {
		text, _, _ = strings.Cut(text, ",")
		list, ok = []any{text}, true
	}
	if !ok || len(list) == 0 {
		return map[string]any{"region_name": ""}, nil
	}
	first, ok := list[0].(map[string]any)
	if !ok {
		return map[string]any{"region_name": text(list[0])}, nil
	}
	region := text(first["name"])
	if region == "" {
		return nil, fmt.Errorf("cloud %s: its first region has no name", name)
	}
	values := maps.Clone(mapping(first["values"]))
	if values == nil {
		values = map[string]any{}
	}
	values["region_name"] = region
	return values, nil
}

// gather moves what a login needs into auth, wherever it stands. Under its present
// name a value comes before one under an older name, and in auth before one beside it.
func (e *entry) gather() {
	within := mapping(e.config["auth"])
	for _, key := range authKeys {
		names := []string{key}
		for _, renamed := range renamedKeys {
			if renamed.name == key {
				names = append(names, renamed.older...)
			}
		}
		for _, name := range names {
			value := text(within[name])
			if value == "" {
				value = text(e.config[name])
			}
			if value != "" && e.auth[key] == "" {
				e.auth[key] = value
			}
			delete(e.config, name)
		}
		if e.auth[key] == "" {
			delete(e.auth, key)
		}
	}
	delete(e.config, "auth")
	if kind, ok := e.config["endpoint_type"]; ok {
		e.config["interface"] = kind
	}
	e.domains()
	e.auth["auth_url"] = placeholder.ReplaceAllStringFunc(e.auth["auth_url"], func(name string) string {
		return text(e.config[strings.Trim(name, "{}")])
	})
	if e.auth["auth_url"] == "" {
		delete(e.auth, "auth_url")
	}
}

// placeholder is a part of a URL that another value fills in.
var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// domains applies a domain that is given once to user and project, if there is one to
// log in to.
func (e *entry) domains() {
	if e.auth["project_id"] == "" && e.auth["project_name"] == "" {
		return
	}
	for _, kind := range []string{"id", "name"} {
		for _, of := range []string{"user_domain_", "project_domain_"} {
			if once := e.auth["domain_"+kind]; once != "" && e.auth[of+kind] == "" {
				e.auth[of+kind] = once
			}
		}
		delete(e.auth, "domain_"+kind)
	}
}

// kind is the way of logging in. One that is null is not said.
func (e *entry) kind() string {
	if kind := text(e.config["auth_type"]); kind != "" {
		return kind
	}
	return "password"
}

// truth reads a value that says yes or no. ok is false for one that does not.
func truth(value any) (yes, ok bool) {
	switch strings.ToLower(text(value)) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

// verify reports whether to check certificates, and returns the file of authorities; ""
// means the system's.
func (e *entry) verify() (check bool, authorities string) {
	check = true
	if yes, ok := truth(e.config["verify"]); ok {
		check = yes
	} else {
		authorities = text(e.config["verify"])
	}
	if insecure, _ := truth(e.config["insecure"]); insecure {
		check = false
	}
	if file := text(e.config["cacert"]); file != "" {
		authorities = file
	}
	if !check {
		return false, ""
	}
	return true, authorities
}

// text returns a scalar as Python writes it, and "" for anything else.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int:
		return strconv.Itoa(v)
	case int64, uint64:
		return fmt.Sprint(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}

func mapping(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

// merged returns a overridden by b, mapping by mapping.
func merged(a, b map[string]any) map[string]any {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]any{}
	}
	for key, value := range b {
		if within, ok := value.(map[string]any); ok {
			value = merged(mapping(both[key]), within)
		}
		both[key] = value
	}
	return both
}

// update puts what b says into a; only of auth what b does not say stays.
func update(a, b map[string]any) {
	for key, value := range b {
		if key == "auth" {
			auth := maps.Clone(mapping(a[key]))
			if auth == nil {
				auth = map[string]any{}
			}
			maps.Copy(auth, mapping(value))
			value = auth
		}
		a[key] = value
	}
}

// underscored returns a mapping whose keys have underscores for dashes. Where there
// are both, the one with underscores stays.
func underscored(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for key, value := range m {
		if within, ok := value.(map[string]any); ok {
			value = underscored(within)
		}
		name := strings.ReplaceAll(key, "-", "_")
		if _, ok := m[name]; ok && name != key {
			continue
		}
		out[name] = value
	}
	return out
}
