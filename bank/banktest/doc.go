// SPDX-License-Identifier: Apache-2.0

// Package banktest tests plugins of the bank and helps to test what uses one:
// a conformance suite, a bank in memory, and a decorator that injects faults.
package banktest
