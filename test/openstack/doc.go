// SPDX-License-Identifier: Apache-2.0

// Package openstack takes what projects of a cloud of real services have through
// the whole service and back: callers ask over RabbitMQ, a worker process works
// with the provider file that comes with the service, and what is restored is
// compared with what was there, bytes where there are bytes. In the end no
// service holds anything that it did not hold before.
package openstack
