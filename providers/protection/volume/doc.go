// SPDX-License-Identifier: Apache-2.0

// Package volume is what the plugins for Cinder's volumes share: volumes,
// snapshots and backups that are made once however often a hook is run, waited
// for and removed, and the frames of their hooks.
//
// What is made carries the ids of checkpoint and resource in its metadata. A run
// that was interrupted after it had asked for something, but before it knew the
// answer, is followed by one that finds it there.
// cinder: api-ref/source/v3
package volume
