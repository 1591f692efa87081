// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"encoding/json"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
)

// Storage is what keeps the backups.
type Storage struct {
	Kind      string // swift, s3, ssh, local
	Container string

	SSHKey, SSHUser, SSHHost, SSHPort string
	Endpoint, AccessKey, SecretKey    string
}

// metadata is the JSON object of the same name in the bank.
// karbor: volume_freezer_plugin.py
type metadata struct {
	JobID string          `json:"job_id"`
	Job   json.RawMessage `json:"job_info"`
}

// jobInfo is the job of a backup as the bank has it, in the key order of the
// original. Unlike there, secrets are not in it.
type jobInfo struct {
	Description string       `json:"description"`
	Actions     []actionInfo `json:"job_actions"`
	ClientID    string       `json:"client_id"`
}

type actionInfo struct {
	Action any `json:"freezer_action"` // one of the below
}

type swiftAction struct {
	BackupName string `json:"backup_name"`
	Action     string `json:"action"`
	Mode       string `json:"mode"`
	VolumeID   string `json:"cinder_vol_id"`
	Storage    string `json:"storage"`
	Container  string `json:"container"`
}

type s3Action struct {
	swiftAction
	Endpoint *string `json:"endpoint"`
}

type sshAction struct {
	swiftAction
	Port *string `json:"ssh_port"`
	User *string `json:"ssh_username"`
	Host *string `json:"ssh_host"`
}

// container is where the backups of one checkpoint are.
func (s Storage) container(c *protection.Call) string { return s.Container + "/" + c.Checkpoint.ID() }

// info describes the job of a backup.
func (s Storage) info(c *protection.Call, clientID string) jobInfo {
	name, ok := c.Parameters.String("backup_name")
	if !ok || name == "" {
		name = "backup" + c.Resource.ID
	}
	description, _ := c.Parameters.String("description")
	if description == "" {
		description = c.Resource.ID
	}
	plain := swiftAction{
		BackupName: strings.ReplaceAll(name, " ", "_"), Action: backupAction, Mode: "cinder",
		VolumeID: c.Resource.ID, Storage: s.Kind, Container: s.container(c),
	}
	var action any = plain
	switch s.Kind {
	case "s3":
		action = s3Action{plain, option(s.Endpoint)}
	case "ssh":
		action = sshAction{plain, option(s.SSHPort), option(s.SSHUser), option(s.SSHHost)}
	}
	return jobInfo{Description: description, Actions: []actionInfo{{action}}, ClientID: clientID}
}

// option is an option's value, nil if it is not set.
func option(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// reveal puts the secrets of the storage into the action of a job. What a job of
// the original has of them stays, unless there is something better.
func (s Storage) reveal(action map[string]any) {
	secrets := map[string]string{}
	switch action["storage"] {
	case "s3":
		secrets["access_key"], secrets["secret_key"] = s.AccessKey, s.SecretKey
	case "ssh":
		secrets["ssh_key"] = s.SSHKey
	}
	for name, value := range secrets {
		if _, there := action[name]; value != "" || !there {
			action[name] = option(value)
		}
	}
}
