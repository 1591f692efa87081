// SPDX-License-Identifier: Apache-2.0

// Package notify sends and receives the notifications of OpenStack services:
// events such as "plan.create.end" that a service publishes for any listener,
// in the format of oslo.messaging's driver messagingv2.
//
// A [Notifier] hands each event to its drivers. The one of [Messaging] publishes
// it on a broker, where it waits in the queue "<topic>.<priority>" even while
// nobody listens; others write it to a log or keep it for a test. A [Listener]
// takes events out of these queues and acknowledges each when its handlers have
// returned, so that none is lost to a crash.
//
// Anybody may read notifications, so they carry only the parts of a request context
// that identify the request, and never a token.
package notify
