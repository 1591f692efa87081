// SPDX-License-Identifier: Apache-2.0

// Package remote is shared by the plugins whose backups are kept by a service of the
// cloud. It makes things there once, however often a hook is run, waits for them, and
// removes them.
//
// A thing carries a mark of its maker in its metadata, its name or its description, by
// the rules of a Request. If a run is interrupted after its request and before the answer,
// the next run finds the thing by its mark.
package remote
