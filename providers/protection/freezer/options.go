// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"time"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

const group = "freezer_protection_plugin"

// Options are read from the provider file.
var Options = append(poll.ConfigOptions(group, "the result of jobs", 20*time.Second, poll.Week), []config.Option{
	{Group: group, Name: "scheduler_client_id", Help: "The freezer-scheduler that runs the jobs. Empty: one of those that Freezer knows."},
	{Group: group, Name: "container", Default: "karbor", Help: "Where backups are kept; the checkpoint's id is appended."},
	{Group: group, Name: "storage", Default: "swift", Help: "What keeps backups: swift, s3, ssh or local."},
	{Group: group, Name: "ssh_key", Secret: true, Help: "Key for storage ssh."},
	{Group: group, Name: "ssh_username", Help: "User for storage ssh."},
	{Group: group, Name: "ssh_host", Help: "Host for storage ssh."},
	{Group: group, Name: "ssh_port", Help: "Port for storage ssh."},
	{Group: group, Name: "endpoint", Help: "URL for storage s3."},
	{Group: group, Name: "access_key", Secret: true, Help: "Access key for storage s3."},
	{Group: group, Name: "secret_key", Secret: true, Help: "Secret key for storage s3."},
}...)

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	get := func(name string) string { return cfg.String(group, name) }
	return Config{
		Config:      poll.FromConfig(cfg, group),
		SchedulerID: get("scheduler_client_id"),
		Storage: Storage{
			Kind: get("storage"), Container: get("container"),
			SSHKey: get("ssh_key"), SSHUser: get("ssh_username"), SSHHost: get("ssh_host"), SSHPort: get("ssh_port"),
			Endpoint: get("endpoint"), AccessKey: get("access_key"), SecretKey: get("secret_key"),
		},
	}
}
