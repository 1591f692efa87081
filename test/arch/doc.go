// SPDX-License-Identifier: Apache-2.0

// Package arch holds the rules about which package may import which, as tests over "go list".
// docs/architecture.md explains them.
package arch
