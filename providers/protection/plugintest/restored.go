// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Restored returns a plugin that restores in Complete, in restores that have brought
// back other resources before: ids of the new ones by those of the old.
func Restored(p protection.Plugin, ids map[string]string) protection.Plugin { return restored{p, ids} }

type restored struct {
	protection.Plugin
	ids map[string]string
}

func (r restored) Operation(kind protection.Kind, of resource.Resource) (*protection.Operation, error) {
	operation, err := r.Plugin.Operation(kind, of)
	if err != nil || kind != protection.Restore {
		return operation, err
	}
	complete := operation.Complete
	operation.Complete = func(ctx context.Context, c *protection.Call) error {
		for original, id := range r.ids {
			c.NewResources.Set(original, id)
		}
		return complete(ctx, c)
	}
	return operation, nil
}
