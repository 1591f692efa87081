// SPDX-License-Identifier: Apache-2.0

// Package notify sends and receives the notifications of OpenStack services:
// events such as "plan.create.end" that a service publishes for any listener,
// in the format of oslo.messaging's driver messagingv2.
//
// A [Notifier] passes each event to its drivers. The driver [Messaging] publishes the
// event on a broker, where it waits in the queue "<topic>.<priority>" even without a
// listener; other drivers write events to a log or keep them for a test. A [Listener]
// consumes these queues and acknowledges each event after its handlers have returned,
// so that a crash loses none.
//
// Anybody may read notifications, so they carry only the parts of a request context
// that identify the request, and never a token.
package notify
