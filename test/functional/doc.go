// SPDX-License-Identifier: Apache-2.0

// Package functional tests the program karbor-protection as an operator runs
// it: a process with configuration files, between a real RabbitMQ, MariaDB or
// PostgreSQL, Keystone, Swift and Glance. Only what comes out of it counts:
// answers over RPC, objects in the bank, rows in the database, images in
// Glance, its log, its memory and its exit code.
//
// The addresses come from the environment, as tools/services/up prints them; a
// test whose services are absent is skipped. Each test has an exchange, a topic,
// a database and a Swift container of its own and removes them.
package functional
