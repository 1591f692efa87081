// SPDX-License-Identifier: Apache-2.0

package database

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// outage reduces the many failures of an unreachable database to two log lines.
type outage struct {
	log   logrus.FieldLogger
	clock func() time.Time

	mu    sync.Mutex
	since time.Time // zero while the database can be reached
}

func (o *outage) begin(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		return
	}
	o.since = o.clock()
	o.log.WithError(err).Error("The database cannot be reached, calls wait for it")
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return
	}
	o.log.WithField("after", o.clock().Sub(o.since).Round(time.Second)).Info("The database can be reached again")
	o.since = time.Time{}
}
