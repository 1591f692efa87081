// SPDX-License-Identifier: Apache-2.0

package ownership

import (
	"sync"

	"github.com/sirupsen/logrus"
)

// outage logs once that the journal is unavailable, and once that it is back.
type outage struct {
	log logrus.FieldLogger

	mu   sync.Mutex
	away bool
}

func (o *outage) began(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.away {
		o.away = true
		o.log.WithError(err).Warn(what)
	}
}

func (o *outage) ended() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		o.away = false
		o.log.Info("the journal is back")
	}
}
