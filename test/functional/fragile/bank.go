// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/test/functional/history"
)

// banks are the same banks with failpoints.
func (w *watch) banks(from *providers.BankRegistry) *providers.BankRegistry {
	to := &providers.BankRegistry{}
	for _, entry := range from.Entries() {
		to.Register(entry.Names, entry.Options, func(cfg *config.Config, log logrus.FieldLogger) (bank.Plugin, *bank.Lease, error) {
			plugin, lease, err := entry.Build(cfg, log)
			if err == nil {
				plugin = objects{plugin, lease, w}
			}
			return plugin, lease, err
		})
	}
	return to
}

// objects is a bank with failpoints.
type objects struct {
	bank.Plugin
	lease *bank.Lease // nil: the bank has none
	watch *watch
}

func (o objects) event(what, key string) history.Event {
	return history.Event{What: what, Key: key, Owner: o.OwnerID(), LeaseLost: o.lease != nil && o.lease.Valid() != nil}
}

func (o objects) Put(ctx context.Context, key string, u bank.Upload) error {
	e := o.event(history.Put, key)
	if strings.HasSuffix(key, "/index.json") {
		status, err := statusIn(u)
		if err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		e.Status = status
	}
	return o.watch.around(e, func(*history.Event) error { return o.Plugin.Put(ctx, key, u) })
}

func (o objects) Delete(ctx context.Context, key string) error {
	return o.watch.around(o.event(history.Delete, key), func(*history.Event) error { return o.Plugin.Delete(ctx, key) })
}

// statusIn reads the status of a checkpoint from its index.json.
func statusIn(u bank.Upload) (string, error) {
	body, err := u.Open()
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var document struct {
		Status string `json:"status"`
	}
	return document.Status, json.Unmarshal(text, &document)
}
