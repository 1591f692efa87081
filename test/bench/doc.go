// SPDX-License-Identifier: Apache-2.0

// Command bench measures the worker karbor-protection beside the same thing
// done in Python, on one machine, with one broker, in one run: only the ratios
// mean something elsewhere. docs/performance.md explains the table.
//
// usage, from the root of the repository, with bin/karbor-protection built:
//
//	RABBIT_URL=rabbit://guest:guest@127.0.0.1:5672/ go run ./test/bench
//
// It fails when something is wrong, such as a call without an answer; no figure
// makes it fail.
package main
