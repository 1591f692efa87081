// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
)

// searchDirs are the directories in which a relative provider_config_dir is looked for.
// The original does not derive them from state_path either. It looks into the working
// directory first; a service that is started in a directory that others can write to
// would load their providers.
// karbor: utils.py find_config
var searchDirs = []string{"/var/lib/karbor/etc/karbor", "/var/lib/karbor/etc", "/var/lib/karbor", "/etc/karbor"}

// Loader makes providers from their files.
type Loader struct {
	Banks   *BankRegistry
	Plugins *protection.Registry
	Clients *openstack.Factory
	Cluster kubernetes.Cluster // nil: the program is built without Kubernetes
	Log     logrus.FieldLogger
	// Checkpoints are the options of each provider's checkpoint collection.
	Checkpoints checkpoint.Options
	// Banks on this machine keep in this folder, by the id of the provider, which they are; ""
	// is nowhere.
	Memory string
	// Guard has to return nil for each write to a bank, beside the bank's lease: it
	// reports whether the worker's tenure lasts. nil means no guard.
	Guard func() error
}

// FindDir resolves provider_config_dir, or fails with ConfigNotFound.
func FindDir(dir string) (string, error) {
	return findDir(dir, searchDirs)
}

func findDir(dir string, below []string) (string, error) {
	candidates := []string{dir}
	if !filepath.IsAbs(dir) {
		candidates = nil
		for _, base := range below {
			candidates = append(candidates, filepath.Join(base, dir))
		}
	}
	for _, candidate := range candidates {
		if info, err := os.Stat(candidate); err == nil && info.IsDir() {
			return filepath.Clean(candidate), nil
		}
	}
	return "", fault.ConfigNotFound(strings.Join(candidates, ", "))
}

// Load reads every file of a folder that ends in .conf, in the order of their
// names. A file that cannot be used is reported and left out: it must not take
// the other providers down.
func (l *Loader) Load(dir string) (*Registry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of providers: %w", err)
	}
	var all []*Provider
	registry := &Registry{}
	seen := map[string]string{}
	for _, file := range files {
		if file.IsDir() || !strings.HasSuffix(file.Name(), ".conf") {
			continue
		}
		path := filepath.Join(dir, file.Name())
		log := l.Log.WithField("file", path)
		note := func(format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			log.Warn(text)
			registry.notes = append(registry.notes, Note{file.Name(), text})
		}
		p, err := l.loadFile(path, log, note)
		if err != nil {
			log.Errorf("provider is left out: %s", fault.Detail(err))
			registry.leftOut = append(registry.leftOut, LeftOut{File: file.Name(), Err: err})
			continue
		}
		if p == nil {
			continue
		}
		if other, taken := seen[p.ID]; taken {
			note("provider id %s is also that of %s: this file counts", p.ID, other)
			l.closeReplaced(all, p.ID, log)
		}
		seen[p.ID] = path
		log.Infof("provider %s (%s) is loaded and protects %s", p.Name, p.ID, strings.Join(p.types, ", "))
		all = append(all, p)
	}
	registry.index(all)
	return registry, nil
}

func (l *Loader) closeReplaced(all []*Provider, id string, log logrus.FieldLogger) {
	for _, p := range all {
		if p.ID != id {
			continue
		}
		if err := p.Close(); err != nil {
			log.Warnf("close the provider that was replaced: %v", err)
		}
	}
}

// loadFile makes one provider, or nil if its file does not enable it.
func (l *Loader) loadFile(path string, log logrus.FieldLogger, note func(format string, args ...any)) (*Provider, error) {
	cfg, err := config.LoadFile(path, l.options())
	if err != nil {
		return nil, err
	}
	for _, u := range cfg.Unknown() {
		note("%s", u)
	}
	d := Definition{
		ID:          cfg.String("provider", "id"),
		Name:        cfg.String("provider", "name"),
		Description: cfg.String("provider", "description"),
		BankName:    cfg.String("provider", "bank"),
		Checkpoints: l.Checkpoints,
	}
	if !cfg.Bool("provider", "enabled") {
		log.Infof("provider %s is not enabled", d.Name)
		return nil, nil
	}
	if err := uuid.Validate(d.ID); err != nil {
		note("provider id %q is not a UUID: karbor-api lets nobody name such a provider", d.ID)
	}
	if d.Checkpoints.Log == nil {
		d.Checkpoints.Log = log
	}
	if d.OnUnfit, err = onUnfit(cfg.List("provider", OnUnfit)); err != nil {
		return nil, err
	}
	if d.Plugins, err = l.plugins(cfg, log); err != nil {
		return nil, err
	}
	if d.Bank, err = l.bank(cfg, log); err != nil {
		return nil, err
	}
	if d.Checkpoints.Signing, err = signing(cfg); err != nil {
		return nil, errors.Join(err, d.Bank.Close())
	}
	p, err := New(d)
	if err != nil {
		return nil, errors.Join(err, d.Bank.Close())
	}
	return p, nil
}

// onUnfit reads the option of that name.
func onUnfit(list []string) (map[string]string, error) {
	choices := map[string]string{}
	for _, text := range list {
		resourceType, choice, ofType := strings.Cut(text, "=")
		if !ofType {
			resourceType, choice = "", text
		} else if !slices.Contains(protectable.Judged(), resourceType) {
			return nil, fmt.Errorf("option %s in section [provider]: %q is none of the types %s", OnUnfit, resourceType, strings.Join(protectable.Judged(), ", "))
		}
		if choice != Fail && choice != LeaveOut {
			return nil, fmt.Errorf("option %s in section [provider]: want %s or %s, or TYPE=%[2]s or TYPE=%[3]s, got %q", OnUnfit, Fail, LeaveOut, text)
		}
		choices[resourceType] = choice
	}
	return choices, nil
}

// signing returns what signs the checkpoints; nil when the file names no keys.
func signing(cfg *config.Config) (*checkpoint.Signing, error) {
	path, require := cfg.String(signingGroup, "key_file"), cfg.Bool(signingGroup, "require")
	if path == "" {
		if require {
			return nil, errors.New("option require in section [" + signingGroup + "] needs a key_file")
		}
		return nil, nil
	}
	s, err := checkpoint.LoadSigning(path, require)
	if err != nil {
		return nil, fmt.Errorf("option key_file in section [%s]: %w", signingGroup, err)
	}
	return s, nil
}

func (l *Loader) options() []config.Option {
	options := append([]config.Option(nil), ProviderOptions...)
	for _, entry := range l.Banks.Entries() {
		options = append(options, entry.Options...)
	}
	for _, entry := range l.Plugins.Entries() {
		options = append(options, entry.Options...)
	}
	return options
}

// plugins makes the plugins that the file names.
func (l *Loader) plugins(cfg *config.Config, log logrus.FieldLogger) ([]protection.Plugin, error) {
	var all []protection.Plugin
	for _, name := range cfg.MultiString("provider", "plugin") {
		if name == "" {
			return nil, errors.New("option plugin in section [provider] is empty: name a plugin or remove the line")
		}
		entry, err := l.Plugins.Lookup(name)
		if err != nil {
			return nil, err
		}
		plugin, err := entry.Build(cfg, protection.Deps{Clients: l.Clients, Cluster: l.Cluster, Log: log})
		if err != nil {
			return nil, fmt.Errorf("make plugin %s: %w", name, err)
		}
		all = append(all, plugin)
	}
	return all, nil
}

// bank makes the bank that the file names.
func (l *Loader) bank(cfg *config.Config, log logrus.FieldLogger) (*bank.Bank, error) {
	name := cfg.String("provider", "bank")
	if name == "" {
		return nil, errors.New("option bank in section [provider] is empty: a provider needs a bank")
	}
	entry, err := l.Banks.Lookup(name)
	if err != nil {
		return nil, err
	}
	plugin, lease, err := entry.Build(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("make bank %s: %w", name, err)
	}
	b := bank.New(plugin, lease, l.Guard)
	if l.Memory != "" {
		b.Remember(filepath.Join(l.Memory, url.PathEscape(cfg.String("provider", "id"))))
	}
	return b, nil
}
