// SPDX-License-Identifier: Apache-2.0

// Package banktest tests plugins of the bank and supports tests of code that uses a bank. It has a
// conformance suite, a bank in memory, and a decorator that injects faults.
package banktest
