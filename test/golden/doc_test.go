// SPDX-License-Identifier: Apache-2.0

// Package golden replays recorded calls of the original service, byte for byte,
// against this one, and compares what comes back and what is left in the bank
// and the database. What differs on purpose stands in deviations_test.go, with
// the reason.
//
// It also holds the service to its answers when calls, files and objects are
// wrong. The service runs as a process of its own, with its configuration files
// and a real RabbitMQ, which RABBIT_URL names.
package golden
