// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// ErrNotFound is in the chain of errors about objects that do not exist.
var ErrNotFound = errors.New("not found")

// StatusError is what the API server answers in place of an object.
// kubernetes: api-reference Status
type StatusError struct {
	Code    int    // of HTTP
	Reason  string // "AlreadyExists", for machines
	Message string // for people
}

// Error returns the message and the code.
func (e *StatusError) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Code) }

// Is tells that an answer with code 404 is ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && e.Code == http.StatusNotFound
}

// IsAlreadyExists tells that an object of the name is there, whoever made it.
func IsAlreadyExists(err error) bool { return reason(err) == "AlreadyExists" }

// IsConflict tells that the object is not the one that was meant.
func IsConflict(err error) bool { return reason(err) == "Conflict" }

func reason(err error) string {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Reason
	}
	return ""
}

// IsTransient tells errors that may be gone at the next attempt: of the
// connection, of an API server that is busy, slow or restarts, and of a listing
// that took so long that its snapshot is gone.
func IsTransient(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests || status.Code == http.StatusGone
	}
	var transport *url.Error
	return (errors.As(err, &transport) || errors.Is(err, context.DeadlineExceeded)) && !errors.Is(err, context.Canceled)
}
