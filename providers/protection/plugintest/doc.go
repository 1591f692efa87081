// SPDX-License-Identifier: Apache-2.0

// Package plugintest is the conformance suite of protection plugins, those of
// vendors included, and what helps to test them.
//
// Run checks what needs no service: types, schemas, kinds of operations.
//
// Survive checks what package protection promises on behalf of the plugins: that
// an operation survives the end of its process at any time. It wants a World, a
// service with one resource in it, real or fake, and a plugin whose calls go
// through a Process. Then it lets processes die, before and after each call to a
// service, to the bank and to the service's own database, lets another process go
// on, and compares what comes of it with an undisturbed run; and it hands over,
// drains, cancels and takes back, everywhere.
//
// A Harness is one flow over one checkpoint, for the plugin's own tests.
package plugintest
