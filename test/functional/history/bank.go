// SPDX-License-Identifier: Apache-2.0

package history

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// whole reads the data of available checkpoints, as the image plugin lays them
// out.
func (j *judge) whole() {
	checkpoints, broken := j.State.checkpoints()
	for _, key := range broken {
		j.finds(Whole, "%s cannot be read", key)
	}
	for _, c := range checkpoints {
		if c.Status != "available" || !j.State.Copies {
			continue
		}
		for _, r := range c.Plan.Resources {
			if wrong := j.State.section("/checkpoints/" + c.ID + "/resource-data/" + r.ID + "/"); wrong != "" {
				j.finds(Whole, "checkpoint %s is available, and of resource %s %s", c.ID, r.ID, wrong)
			}
		}
	}
}

// section says what is wrong with the data of a resource.
func (s *State) section(path string) string {
	var metadata struct {
		Chunks int `json:"chunks_num"`
		Image  struct {
			Checksum string `json:"checksum"`
		} `json:"image_metadata"`
	}
	if err := json.Unmarshal(s.Objects[path+"metadata"], &metadata); err != nil {
		return "metadata cannot be read"
	}
	if status := strings.Trim(string(s.Objects[path+"status"]), `"`); status != "available" {
		return fmt.Sprintf("the status is %q", status)
	}
	sum := md5.New()
	for n := range metadata.Chunks {
		data, ok := s.Objects[fmt.Sprintf("%sdata_%d", path, n+1)]
		if !ok {
			return fmt.Sprintf("data_%d of %d is missing", n+1, metadata.Chunks)
		}
		_, _ = sum.Write(data) // it has no errors
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != metadata.Image.Checksum {
		return "the data differ from their source"
	}
	have := 0
	for key := range s.Objects {
		if strings.HasPrefix(key, path+"data_") {
			have++
		}
	}
	if have != metadata.Chunks {
		return fmt.Sprintf("%d objects of data are there, want %d", have, metadata.Chunks)
	}
	return ""
}

// indicesAgree compares the index entries with each index.json.
func (j *judge) indicesAgree() {
	want := map[string]bool{}
	checkpoints, _ := j.State.checkpoints()
	for _, c := range checkpoints {
		if c.Status == "deleted" {
			continue
		}
		name := fmt.Sprintf("%d@%s", c.Timestamp, c.ID)
		want["/indices/by-provider/"+c.Provider+"/"+c.Project+"/"+name] = true
		want["/indices/by-date/"+c.CreatedAt+"/"+c.Project+"/"+name] = true
		want["/indices/by-plan/"+c.Plan.ID+"/"+c.Project+"/"+c.CreatedAt+"/"+name] = true
	}
	for _, key := range j.State.keys() {
		if strings.HasPrefix(key, "/indices/") && !want[key] {
			j.finds(IndicesAgree, "%s leads to no checkpoint", key)
		}
		delete(want, key)
	}
	for key := range want {
		j.finds(IndicesAgree, "%s is missing", key)
	}
}

// nothingLeft looks for what belongs to nobody.
func (j *judge) nothingLeft() {
	protected := map[string]bool{}
	undone := map[string]bool{}
	for _, o := range j.State.operations() {
		if makes(o.Kind) {
			protected[o.Checkpoint] = true
			undone[o.Checkpoint] = o.Outcome == "cancelled"
		}
	}
	status := map[string]string{}
	checkpoints, _ := j.State.checkpoints()
	for _, c := range checkpoints {
		status[c.ID] = c.Status
	}
	for _, key := range j.State.keys() {
		id := ofCheckpoint(key)
		tells := strings.HasSuffix(key, "/index.json") || strings.HasSuffix(key, "/status") || !strings.HasPrefix(key, "/checkpoints/")
		switch s, ok := status[id]; {
		case strings.HasPrefix(key, "/checkpoints/") && !ok:
			j.finds(NothingLeft, "%s belongs to no checkpoint", key)
		case !protected[id]:
			j.finds(NothingLeft, "%s belongs to a checkpoint that no operation made", key)
		case s == "deleted" && !tells:
			j.finds(NothingLeft, "%s is left of a deleted checkpoint", key)
		case undone[id] && !tells:
			j.finds(NothingLeft, "%s is left of a checkpoint whose making was cancelled", key)
		}
	}
	j.images()
	for owner, ends := range j.State.Leases {
		if !ends {
			j.finds(NothingLeft, "the lease of %s has no end", owner)
		}
	}
	if n := j.State.Strays; n != 0 {
		j.finds(NothingLeft, "%d rows of the journal belong to no operation", n)
	}
}

// images compares the restored images with the restores.
func (j *judge) images() {
	named := map[string]int{}
	for _, i := range j.State.Images {
		named[i.Name]++
		if i.Status != "active" {
			j.finds(NothingLeft, "image %s of a restore is %s", i.ID, i.Status)
		}
	}
	for _, r := range j.Requests {
		if r.Image == "" {
			continue
		}
		n := named[r.Image]
		switch {
		case r.Cancelled && n > 0:
			j.finds(NothingLeft, "%d images are left of a restore that was cancelled (%s)", n, r.Image)
		case !r.Cancelled && (n > 1 || n == 0 && r.Answered && !j.MayFail): // else images and successes are counted below
			j.finds(OnceEach, "a restore has made %d images, want 1 (%s)", n, r.Image)
		}
		delete(named, r.Image)
	}
	for name := range named {
		j.finds(NothingLeft, "image %s belongs to no restore", name)
	}
	if !j.State.Copies {
		return
	}
	restores := 0
	for _, r := range j.State.Records {
		if r.Kind == "restore" && r.Status == "success" {
			restores++
		}
	}
	if n := len(j.State.Images); n != restores {
		j.finds(OnceEach, "%d images were made by %d restores", n, restores)
	}
}

// noSecrets looks for tokens where somebody could read them. Data of resources
// are passed over: they are their owner's.
func (j *judge) noSecrets() {
	secrets := map[string]bool{}
	for _, e := range j.Events {
		if e.What == Secret && e.Key != "" {
			secrets[e.Key] = true
		}
	}
	look := func(where, text string) {
		for secret := range secrets {
			if strings.Contains(text, secret) {
				j.finds(NoSecrets, "a token is in %s", where)
				return
			}
		}
	}
	for name, text := range j.State.Texts {
		look(name, text)
	}
	for _, key := range j.State.keys() {
		if !slices.Contains(strings.Split(key, "/"), "resource-data") || !strings.Contains(key, "/data_") {
			look(key, string(j.State.Objects[key]))
		}
	}
	for _, e := range j.Events {
		if e.Error != "" {
			look("the error of "+e.What, e.Error)
		}
		if e.Text != "" {
			look("a failure that a caller was told", e.Text)
		}
	}
}
