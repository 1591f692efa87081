// SPDX-License-Identifier: Apache-2.0

// Package outage takes services of a real cloud away from operations that are at
// work with them, and gives them back: each daemon is killed before and after the
// first call that changes something, and started again. Then the operation has
// succeeded, or it has ended with an error that a user can read, and nothing is
// left of it but what the error names, which the next deletion removes; what the
// daemon has left in a status for ever, an administrator declares broken first.
//
// tools/services and tools/openstack start the daemons, and nobody else may
// use them meanwhile: the tests run when KARBOR_TEST_DAEMONS is set, the folder of
// the scripts stop and start.
package outage
