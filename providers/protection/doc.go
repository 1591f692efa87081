// SPDX-License-Identifier: Apache-2.0

// Package protection says how a resource is protected: the interface of a
// protection plugin, what its hooks get, and the registry of names under which
// provider files ask for plugins.
//
// A plugin makes one Operation per resource of a flow. Its four hooks run in
// this order, seen from one resource and its children:
//
//	parent.PrepareBegin  -> child.PrepareBegin
//	child.PrepareFinish  -> parent.PrepareFinish
//	own: PrepareBegin -> PrepareFinish -> Main -> Complete
//	child.Complete       -> parent.Complete
//	used.Complete        -> user.Complete, by Operation.Uses
//
// Main hooks of a parent and its child have no order between them.
//
// Operations outlive processes. Hook says what a plugin has to do for that, State keeps its
// progress, Handover, Because and Cleanup help a hook to end properly, and package
// plugintest tests it.
package protection
