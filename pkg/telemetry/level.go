// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
)

// levelNumbers are the levels of Python's logging.
var levelNumbers = map[string]int{
	"NOTSET": 0, "TRACE": 5, "DEBUG": 10, "INFO": 20, "AUDIT": 21, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50,
}

// levelName returns the name that Python's logging gives to the level.
func levelName(level logrus.Level) string {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return "CRITICAL"
	default:
		return strings.ToUpper(level.String())
	}
}

// levelNumber returns the level's number in Python's logging.
func levelNumber(level logrus.Level) int { return levelNumbers[levelName(level)] }

// severity returns the level of syslog(3).
func severity(level logrus.Level) int {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	default:
		return 7
	}
}

// rootLogger is the prefix of this program's logger names.
const rootLogger = "karbor"

// originalLogger is the name of the service's logger in the original.
const originalLogger = "karbor.services.protection"

// foreignLevels are the levels that oslo.log sets for Python's libraries. Lists copied
// from its sample contain them.
// oslo.log: _options.py DEFAULT_LOG_LEVELS
var foreignLevels = []string{
	"amqp", "amqplib", "boto", "qpid", "sqlalchemy", "suds", "oslo.messaging", "oslo_messaging", "iso8601",
	"requests.packages.urllib3.connectionpool", "urllib3.connectionpool", "websocket",
	"requests.packages.urllib3.util.retry", "urllib3.util.retry", "keystonemiddleware", "routes.middleware",
	"stevedore", "taskflow", "keystoneauth", "oslo.cache", "oslo_policy", "dogpile.core.dogpile",
}

// levels are the lowest levels that loggers show. A logger without a level has the
// level of the name before its last dot.
type levels struct {
	root  int
	named map[string]int
}

// newLevels parses the option default_log_levels.
func newLevels(debug bool, pairs []string) (l levels, warnings []string, err error) {
	l = levels{root: levelNumbers["INFO"], named: map[string]int{}}
	if debug {
		l.root = levelNumbers["DEBUG"]
	}
	var unknown []string
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		level, known := levelNumbers[text]
		if !known {
			if level, err = strconv.Atoi(text); err != nil {
				return l, nil, fmt.Errorf("option default_log_levels: %q is not a pair logger=LEVEL with a level of DEBUG, INFO, WARNING, ERROR, CRITICAL", pair)
			}
		}
		switch {
		case name == originalLogger:
			l.named[rootLogger] = level
		case name == rootLogger, strings.HasPrefix(name, rootLogger+".") && !strings.HasPrefix(name, "karbor.services."):
			l.named[name] = level
		case !slices.Contains(foreignLevels, name):
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		warnings = append(warnings, fmt.Sprintf("option default_log_levels: this program has no loggers named %s; lines show the names of its own, which begin with %s",
			strings.Join(unknown, ", "), rootLogger))
	}
	return l, warnings, nil
}

// enabled reports whether the logger shows entries of the level.
func (l levels) enabled(logger string, level logrus.Level) bool {
	for len(l.named) > 0 {
		if lowest, ok := l.named[logger]; ok && lowest > 0 {
			return levelNumber(level) >= lowest
		}
		dot := strings.LastIndexByte(logger, '.')
		if dot < 0 {
			break
		}
		logger = logger[:dot]
	}
	return levelNumber(level) >= l.root
}

// lowest returns the level below which no logger shows anything.
func (l levels) lowest() logrus.Level {
	least := l.root
	for _, level := range l.named {
		if level > 0 {
			least = min(least, level)
		}
	}
	for _, level := range logrus.AllLevels {
		if levelNumber(level) < least {
			return level - 1
		}
	}
	return logrus.TraceLevel
}
