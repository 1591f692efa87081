// SPDX-License-Identifier: Apache-2.0

// Package cloudtest runs the service as an operator does, in a cloud of real
// services: worker processes with a configuration and a provider file, a bank in
// Swift, tables in MariaDB, and clients who call over RabbitMQ as a project of
// their own. What a test makes, in the cloud, in the bank and on the broker, is
// removed at its end.
//
// tools/openstack/up starts the services. A test that lacks one is skipped.
package cloudtest
