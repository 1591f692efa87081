// SPDX-License-Identifier: Apache-2.0

// Package devstack runs the devstack plugin phase by phase, as stack.sh,
// unstack.sh and clean.sh do, with a stand-in for devstack's functions, and looks
// at the files and processes that result.
package devstack
