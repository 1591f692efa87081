// SPDX-License-Identifier: Apache-2.0

// Package hook is what the hooks of protection plugins have in common: how they
// begin and end, which status and which record they leave, and what users are told
// when one fails.
package hook
