// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"io"

	"github.com/sirupsen/logrus"
)

// orDiscard lets constructors take a nil logger.
func orDiscard(log logrus.FieldLogger) logrus.FieldLogger {
	if log != nil {
		return log
	}
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.PanicLevel)
	return l
}
