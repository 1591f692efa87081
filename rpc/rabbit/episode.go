// SPDX-License-Identifier: Apache-2.0

package rabbit

import "github.com/sirupsen/logrus"

// episode is a time of failing attempts. The log is told when it begins and when it
// takes another turn; what each further attempt adds is for debugging, for attempts
// go on every few seconds for as long as the trouble lasts.
type episode struct {
	told string
}

// level is that of a line about an attempt that has failed for this reason.
func (e *episode) level(reason string, first logrus.Level) logrus.Level {
	if reason == e.told {
		return logrus.DebugLevel
	}
	e.told = reason
	return first
}

// over is for an attempt that has succeeded.
func (e *episode) over() { e.told = "" }
