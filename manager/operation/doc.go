// SPDX-License-Identifier: Apache-2.0

// Package operation runs the long work of the service: protect, restore,
// verify, delete and copy.
//
// Each operation has two parts. The first runs within the RPC: it checks what
// can be checked, makes the operation visible in the bank and the database, and
// links the plugins' hooks to a task graph. The second runs that graph and
// outlives the RPC. An error of the first part is the caller's; the second part
// ends in the status of the checkpoint, restore or verification and in the
// operation log.
package operation
