// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

// Options are the main configuration's options of this package.
var Options = []config.Option{
	{Name: "max_concurrent_operations", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "The largest number of operations that run at a time. Further ones wait, the projects taking turns; " +
			"their calls are answered at once. 0 means no limit."},
	{Name: "max_concurrent_operations_per_provider", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "The largest number of operations of one provider that run at a time. 0 means no limit."},
	{Name: "max_concurrent_operations_per_project", Kind: config.Int, Default: 1000, Min: config.Bound(0),
		Help: "The largest number of operations of one project that run at a time. 0 means no limit."},
	{Name: "max_queued_operations_per_project", Kind: config.Int, Default: 10000, Min: config.Bound(0),
		Help: "The largest number of operations of one project that wait for their turn. Further ones are refused. 0 means no limit."},
	{Name: "max_operation_bytes_per_project", Kind: config.Int, Default: 64 << 20, Min: config.Bound(0),
		Help: "The largest number of bytes that the plans and resource graphs of one project's operations may take that run or wait in this worker. " +
			"Further operations are refused, unless it is the only one. 0 means no limit."},
	{Name: "max_resources_per_operation", Kind: config.Int, Default: 20000, Min: config.Bound(0),
		Help: "The largest number of resources that one operation may be about: those of the plan or checkpoint, and all that depends on them. " +
			"A request for more is refused, and what is in progress fails. 0 means no limit."},
	{Name: "max_links_per_operation", Kind: config.Int, Default: 1000000, Min: config.Bound(0),
		Help: "The largest number of links from resources to those that depend on them that one operation may have. 0 means no limit."},
	{Name: "operation_crash_limit", Kind: config.Int, Default: 3, Min: config.Bound(0),
		Help: "The number of workers in a row that may die within half a minute of going on with an operation, no hook of which has finished since, " +
			"before it fails instead of being tried once more. The last try is made with no other such operation beside it. " +
			"1 fails operations that were merely at work in a worker that died. 0 means no limit."},
	{Name: "max_concurrent_tasks", Kind: config.Int, Default: 1000, Min: config.Bound(1),
		Help: "The largest number of hooks of one operation that run at a time."},
	{Name: "hook_timeout", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "Seconds after which a hook of a protection plugin is ended and its operation fails. 0 means no limit; " +
			"plugins have limits of their own for what they wait for."},
	{Name: "operation_timeout", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "Seconds after which an operation is ended and fails, counted from its start, over restarts. 0 means no limit."},
}

// Configure reads Options into c.
func (c *Config) Configure(cfg *config.Config) {
	number := func(name string) int { return cfg.Int(config.DefaultGroup, name) }
	c.Limits = Limits{
		Total:       number("max_concurrent_operations"),
		PerProvider: number("max_concurrent_operations_per_provider"),
		PerProject:  number("max_concurrent_operations_per_project"),
		Queued:      number("max_queued_operations_per_project"),
		Bytes:       number("max_operation_bytes_per_project"),
	}
	c.MaxResources, c.MaxLinks = number("max_resources_per_operation"), number("max_links_per_operation")
	c.CrashLimit = number("operation_crash_limit")
	c.MaxTasks = number("max_concurrent_tasks")
	c.HookTimeout = time.Duration(number("hook_timeout")) * time.Second
	c.OperationTimeout = time.Duration(number("operation_timeout")) * time.Second
}
