// SPDX-License-Identifier: Apache-2.0

package database

import "errors"

// class is the consequence of an error for the call.
type class int

const (
	unknown     class = iota
	permanent         // not an answer of the database, but of the call itself
	conflict          // another transaction was in the way
	unreachable       // there is no database to talk to, or it has no room
	duplicate         // the row is already there

	// The classes below are refusals: the database has answered, and would give the
	// same answer again.
	tooLong    // a value does not fit into its column
	tooLarge   // a statement is larger than the server takes
	denied     // the user may not do that, or may not connect
	missing    // a table, a column or the database is not there
	constraint // a row would break a rule of the schema
	invalid    // a value, or what a column holds, is not valid
	refused    // anything else
)

// Refusal is the kind of a refusal.
type Refusal string

// The refusals.
const (
	TooLong    Refusal = "a value is too long for its column"
	TooLarge   Refusal = "a statement is larger than the server takes"
	Denied     Refusal = "the user of the connection lacks the rights"
	Missing    Refusal = "tables are missing"
	Constraint Refusal = "a row breaks a rule of the schema"
	Invalid    Refusal = "a value is not valid"
	Other      Refusal = "the statement is refused"
)

var refusals = map[class]Refusal{
	tooLong: TooLong, tooLarge: TooLarge, denied: Denied, missing: Missing, constraint: Constraint, invalid: Invalid, refused: Other,
}

// RefusedError is a refusal by the database that repeating the call would not change,
// unlike an outage. Its text is the database's own.
type RefusedError struct {
	Refusal Refusal
	Err     error
}

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the driver's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// Refused returns the refusal in an error, nil if there is none.
func Refused(err error) *RefusedError {
	var r *RefusedError
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// Advice tells an operator how to resolve a refusal. Users see the text too, so it
// shows nothing of the statement.
func (e *RefusedError) Advice() string {
	switch e.Refusal {
	case Missing:
		return "tables are missing in the database: run karbor-protection --db-sync as a database user that may make tables"
	case Denied:
		return "the database refuses it to the service's user: see its rights, and run karbor-protection --db-sync as one that may make tables"
	}
	return "the database refuses it: " + string(e.Refusal)
}

// asRefusal marks an error whose class is a refusal.
func asRefusal(err error, c class) error {
	reason, ok := refusals[c]
	if !ok || Refused(err) != nil {
		return err
	}
	return &RefusedError{reason, err}
}
