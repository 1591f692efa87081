// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/karbor-project/karbor/bank"
)

// covered reports whether a signature covers the object of this name. It covers all objects but the
// statuses of resources, which deletions change, and the data, whose digests are in a manifest.
func covered(name string) bool {
	_, key, _ := strings.Cut(name, "/")
	return key != "status" && !strings.HasPrefix(key, "data_")
}

// RecordObjects records, for Seal, the digests of the remarks and of all objects that are written
// into sections that Section returns from now on. known are digests that earlier runs recorded.
// keep persists a digest before the write returns; its arguments are the name, <resource id>/<key>
// or remarks.json, and the SHA-256 in hexadecimal, or "" for a deleted object. A checkpoint without
// a signature records nothing.
func (c *Checkpoint) RecordObjects(known map[string]string, keep func(ctx context.Context, name, digest string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.collection.options.Signing == nil || c.document.values[keySignature] == nil {
		return
	}
	digests := map[string]string{}
	maps.Copy(digests, known)
	maps.DeleteFunc(digests, func(_, digest string) bool { return digest == "" })
	c.recorder = &objects{path: c.path(), keep: keep, digests: digests}
}

// Seal makes the next commit sign the recorded digests, which completes the checkpoint.
func (c *Checkpoint) Seal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recorder != nil {
		c.sealed = c.recorder.all()
	}
}

// CheckSeal fails with ErrSignature if signatures are required and the signature does not cover the
// objects of the resources. This is so for a checkpoint that was not completed, or was written by a
// worker of an earlier version. Callers check the seal before they use objects of the checkpoint.
func (c *Checkpoint) CheckSeal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	signing := c.collection.options.Signing
	if signing == nil || !signing.require || c.document.objects() != nil {
		return nil
	}
	return c.collection.broken(c.id, fmt.Errorf("%w: it does not cover the objects of the resources, and has to", ErrSignature))
}

func (c *Checkpoint) sealedObjects() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sealed
}

// digests returns the known digests of the checkpoint's objects, or nil.
func (c *Checkpoint) digests() bank.Digests {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recorder != nil {
		return c.recorder
	}
	if c.collection.options.Signing == nil {
		return nil
	}
	if digests := c.document.objects(); digests != nil {
		return &objects{path: c.path(), digests: digests}
	}
	return nil
}

func (c *Checkpoint) path() string { return c.collection.checkpoints.Path() + c.id + "/" }

// objects holds the digests of a checkpoint's objects by name. An object of a resource is named
// <resource id>/<key>; an object of the checkpoint itself is named by its key, which has no slash.
type objects struct {
	path string                                               // of the checkpoint in the bank
	keep func(ctx context.Context, name, digest string) error // nil if the checkpoint is complete

	mu      sync.Mutex
	digests map[string]string
}

var _ bank.Digests = (*objects)(nil)

// Covers implements bank.Digests.
func (o *objects) Covers(key string) bool { return covered(o.name(key)) }

func (o *objects) name(key string) string { return strings.TrimPrefix(key[len(o.path):], dataFolder) }

func (o *objects) key(name string) string {
	if strings.Contains(name, "/") {
		return o.path + dataFolder + name
	}
	return o.path + name
}

// Record implements bank.Digests. Objects deleted from a complete checkpoint stay on record.
func (o *objects) Record(ctx context.Context, key, digest string) error {
	name := o.name(key)
	if o.keep == nil || o.of(name) == digest {
		return nil
	}
	if err := o.keep(ctx, name, digest); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.digests[name] = digest; digest == "" {
		delete(o.digests, name)
	}
	return nil
}

// Want implements bank.Digests.
func (o *objects) Want(key string) (string, bool) { return o.of(o.name(key)), o.keep == nil }

func (o *objects) of(name string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.digests[name]
}

// Keys implements bank.Digests.
func (o *objects) Keys(prefix string) []string {
	var keys []string
	for name := range o.all() {
		if key := o.key(name); strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (o *objects) all() map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.digests)
}
