// SPDX-License-Identifier: Apache-2.0

// Package volume is what the plugins for Cinder's volumes share: the kinds of
// things that Cinder keeps for them, their statuses, and how they are ordered.
// cinder: api-ref/source/v3
package volume
