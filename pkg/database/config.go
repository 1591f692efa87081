// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
)

const group = "database"

// ConfigOptions are the options of this package. FromConfig also reads
// state_path, which is the daemon's.
//
// oslo.db: options.py
var ConfigOptions = []config.Option{
	{
		Group: group, Name: "connection", Kind: config.String, Default: "sqlite:///$state_path/karbor.sqlite", Secret: true,
		Deprecated: []config.Name{{Group: config.DefaultGroup, Name: "sql_connection"}, {Group: "sql", Name: "connection"}},
		Help: "The database, as a URL of SQLAlchemy: mysql+pymysql://user:password@host/karbor?charset=utf8, " +
			"postgresql://user:password@host/karbor, sqlite:////path/to/file. Special characters of user and password are percent-encoded.",
	},
	{
		Group: group, Name: "connection_recycle_time", Kind: config.Int, Default: 3600,
		Deprecated: []config.Name{{Group: group, Name: "idle_timeout"}, {Group: config.DefaultGroup, Name: "sql_idle_timeout"}},
		Help:       "Seconds after which a connection is replaced by a new one.",
		Min:        config.Bound(1),
	},
	{
		Group: group, Name: "max_pool_size", Kind: config.Int, Default: 5,
		Help: "How many idle connections are kept. SQLite has one connection.",
		Min:  config.Bound(1),
	},
	{
		Group: group, Name: "max_overflow", Kind: config.Int, Default: 50,
		Help: "How many connections there may be beyond max_pool_size.",
		Min:  config.Bound(0),
	},
	{
		Group: group, Name: "db_max_retries", Kind: config.Int, Default: 20,
		Help: "How often a call is repeated while the database cannot be reached or is locked; -1 is without end. " +
			"The service starts and keeps running without its database in any case.",
		Min: config.Bound(-1),
	},
	{
		Group: group, Name: "db_retry_interval", Kind: config.Int, Default: 1,
		Help: "Seconds before the first repetition. The wait doubles each time.",
		Min:  config.Bound(0),
	},
	{
		Group: group, Name: "db_max_retry_interval", Kind: config.Int, Default: 10,
		Help: "The longest wait between repetitions, in seconds.",
		Min:  config.Bound(0),
	},
}

// FromConfig opens the database that a configuration names.
func FromConfig(ctx context.Context, c *config.Config, log logrus.FieldLogger) (*DB, error) {
	seconds := func(name string) time.Duration { return time.Duration(c.Int(group, name)) * time.Second }
	retry := DefaultRetry()
	retry.Max = c.Int(group, "db_max_retries")
	retry.Interval = seconds("db_retry_interval")
	retry.MaxInterval = seconds("db_max_retry_interval")
	idle := c.Int(group, "max_pool_size")
	return Open(ctx, c.String(group, "connection"), Options{
		Log:          log,
		StatePath:    c.String(config.DefaultGroup, "state_path"),
		Retry:        &retry,
		MaxIdleConns: idle,
		MaxConns:     idle + c.Int(group, "max_overflow"),
		ConnLifetime: seconds("connection_recycle_time"),
	})
}
