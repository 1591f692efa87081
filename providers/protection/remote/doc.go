// SPDX-License-Identifier: Apache-2.0

// Package remote is what plugins share whose backups a service of the cloud keeps:
// things there that are made once however often a hook is run, waited for, and
// removed.
//
// What is made carries a mark of its maker, in its metadata, its name or its
// description, by the rules of an Order. A run that was interrupted after it had
// asked for something, but before it knew the answer, is followed by one that
// finds it there.
package remote
