// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// testPlugin is the name of the plugin that the recording used to see hooks at
// work.
const testPlugin = "golden-test-plugin"

// providerFile is one provider of the recording.
type providerFile struct {
	file, id, name, description string
	plugins                     []string
}

// recorded are the providers of the recording with the plugins in the order of
// their files.
var recorded = []providerFile{
	{"noop.conf", "b766f37c-d011-4026-8228-28730d734a3f", "No-Op Provider",
		"This provider does nothing for each protect and restore operation. Used for testing",
		[]string{"karbor-noop-protection-plugin"}},
	{"openstack-infra.conf", "cf56bd3e-97a7-4078-b6d5-f36246333fd9", "OS Infra Provider",
		"This provider uses OpenStack's own services (swift, cinder) as storage",
		[]string{"karbor-volume-protection-plugin", "karbor-image-protection-plugin", "karbor-server-protection-plugin",
			"karbor-share-protection-plugin", "karbor-network-protection-plugin", "karbor-database-protection-plugin"}},
	{"kubernetes.conf", "e3982e71-f44d-4b09-8abd-3e53e4b80d10", "OS Kubernetes Provider",
		"This provider is about running the kubernetes cluster on OpenStack with OpenStack cloud provider.",
		[]string{"karbor-volume-protection-plugin", "karbor-pod-protection-plugin"}},
	{"freezer.conf", "f0000000-0000-4000-8000-000000000001", "Freezer", "freezer volume",
		[]string{"karbor-volume-freezer-plugin"}},
	{"snapshot.conf", "f0000000-0000-4000-8000-000000000002", "Snapshot", "volume snapshot",
		[]string{"karbor-volume-snapshot-plugin"}},
	{"volume-glance.conf", "f0000000-0000-4000-8000-000000000003", "VolGlance", "volume to glance",
		[]string{"karbor-volume-glance-plugin"}},
	{"test.conf", "f0000000-0000-4000-8000-00000000000f", "RefTest", "python-only test plugin",
		[]string{testPlugin}},
}

// providerConf is the text of a provider's file with a bank in dir.
func providerConf(p providerFile, bankName, dir string) string {
	var text bytes.Buffer
	fmt.Fprintf(&text, "[provider]\nname = %s\nid = %s\ndescription = %s\nenabled = True\nbank = %s\n", p.name, p.id, p.description, bankName)
	for _, plugin := range p.plugins {
		fmt.Fprintf(&text, "plugin = %s\n", plugin)
	}
	fmt.Fprintf(&text, "[file_system_bank_plugin]\nfile_system_bank_path = %s\n", filepath.Join(dir, "bank"))
	return text.String()
}

func recordedProviders(dir string) map[string]string {
	files := map[string]string{}
	for _, p := range recorded {
		files[p.file] = providerConf(p, "karbor-fs-bank-plugin", dir)
	}
	return files
}

// setup is what provider files can name: all that comes with the service, a
// stand-in for each plugin of the recording that does not, and banks that fail.
func setup() service.Setup {
	s := service.Builtin()
	schemas, err := recordedSchemas()
	if err != nil {
		panic(err)
	}
	for _, p := range recorded {
		for _, name := range p.plugins {
			if _, err := s.Plugins.Lookup(name); err == nil {
				continue
			}
			plugin := standIn{types: standInTypes[name], schemas: schemas[p.id]}
			s.Plugins.Register([]string{name}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) {
				return plugin, nil
			})
		}
	}
	s.Banks.Register([]string{slowBank}, nil, func(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
		plugin, lease, err := filesystem.FromConfig(cfg, log)
		return slow{plugin, cfg.String("file_system_bank_plugin", "file_system_bank_path")}, lease, err
	})
	return s
}

// standInTypes are the types of the plugins that may be missing.
var standInTypes = map[string][]string{
	"karbor-volume-protection-plugin":   {resource.Volume},
	"karbor-server-protection-plugin":   {resource.Server},
	"karbor-share-protection-plugin":    {resource.Share},
	"karbor-network-protection-plugin":  {resource.Network},
	"karbor-database-protection-plugin": {resource.Database},
	"karbor-pod-protection-plugin":      {resource.Pod},
	"karbor-volume-freezer-plugin":      {resource.Volume},
	"karbor-volume-snapshot-plugin":     {resource.Volume},
	"karbor-volume-glance-plugin":       {resource.Volume},
	testPlugin:                          {resource.Volume},
}

// schemaTable has schemas by the part of extended_info_schema and by type.
type schemaTable map[string]map[string]json.RawMessage

// recordedSchemas reads the schemas by provider.
func recordedSchemas() (map[string]schemaTable, error) {
	s, err := load("list_providers")
	if err != nil {
		return nil, err
	}
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	if err := json.Unmarshal([]byte(s.Messages[1].Body), &envelope); err != nil {
		return nil, err
	}
	var inner struct {
		Result []struct {
			ID     string      `json:"id"`
			Schema schemaTable `json:"extended_info_schema"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(envelope.Message), &inner); err != nil {
		return nil, err
	}
	tables := map[string]schemaTable{}
	for _, p := range inner.Result {
		tables[p.ID] = p.Schema
	}
	return tables, nil
}

// standIn has the schemas of a plugin, and does what the plugin of the
// recording's test provider did: protect writes a status and metadata, and the
// parameters fail and sleep do what they say. It has every operation.
type standIn struct {
	types   []string
	schemas schemaTable
}

func (s standIn) Types() []string { return slices.Clone(s.types) }

func (s standIn) Schemas(resourceType string) protection.Schemas {
	return protection.Schemas{Options: s.schemas["options_schema"][resourceType],
		Restore: s.schemas["restore_schema"][resourceType], SavedInfo: s.schemas["saved_info_schema"][resourceType]}
}

func (s standIn) Operation(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: obey(protect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: obey(recordAvailable)}, nil
	case protection.Verify:
		return &protection.Operation{Main: recordAvailable}, nil
	case protection.Delete:
		return &protection.Operation{Main: hook.Frame{Title: "Test"}.Delete(hook.Purge())}, nil
	}
	return &protection.Operation{}, nil
}

// obey looks at the parameters first. The sleep of a minute lasts as long as
// the service, so that what is seen meanwhile does not depend on time.
func obey(then protection.Hook) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		if _, ok := c.Parameters.String("fail"); ok {
			return errors.New("the test wants it to fail")
		}
		if _, ok := c.Parameters.String("sleep"); ok {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return then(ctx, c)
	}
}

func protect(ctx context.Context, c *protection.Call) error {
	metadata := struct {
		ID   string `json:"volume_id"`
		Name string `json:"name"`
	}{c.Resource.ID, c.Resource.Name}
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, metadata); err != nil {
		return err
	}
	return c.PutStatus(ctx, protection.StatusAvailable)
}

func recordAvailable(ctx context.Context, c *protection.Call) error {
	return c.UpdateStatus(ctx, c.Resource.ID, protection.StatusAvailable, "")
}

// slowBank is the name of a bank whose listings wait for a file.
const slowBank = "golden-slow-bank"

// listings is the file, in the bank's folder, that ends the waiting.
const listings = "listings-may-end"

type slow struct {
	bank.Plugin
	dir string
}

func (s slow) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(filepath.Join(s.dir, listings)); err == nil {
			return s.Plugin.List(ctx, o)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}
