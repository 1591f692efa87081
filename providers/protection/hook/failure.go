// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Failure is an error with a text for users and its cause for the log.
type Failure struct {
	Text string
	Err  error
}

// Error returns the text.
func (f *Failure) Error() string { return f.Text }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Unfit reports whether a wait ended with a status that is of no use, or too late.
func Unfit(err error) bool {
	var status *poll.StatusError
	return errors.As(err, &status) || errors.Is(err, poll.ErrDeadline)
}

// StatusOf returns the status at which a wait ended, "" if it was not at one.
func StatusOf(err error) string {
	var status *poll.StatusError
	if errors.As(err, &status) {
		return status.Status
	}
	return ""
}

// Instead returns text as the failure in place of err, if err comes from a wait
// that ended in a wrong status.
func Instead(text string, err error) error {
	if Unfit(err) {
		return &Failure{Text: text, Err: err}
	}
	return err
}

// InStatus returns as the failure the status at which a wait ended, in place of err: in
// a format with one %s for the status, or the text gone for a thing that is not there.
func InStatus(format, gone string, err error) error {
	switch status := StatusOf(err); status {
	case "":
		return err
	case poll.NotFound:
		return &Failure{Text: gone, Err: err}
	default:
		return &Failure{Text: fmt.Sprintf(format, status), Err: err}
	}
}

// Reason returns what users are told about an error.
func Reason(err error) string {
	var ended *protection.EndedError
	if errors.As(err, &ended) {
		return ended.Error()
	}
	var f *Failure
	if errors.As(err, &f) {
		return f.Text
	}
	return openstack.Reason(err)
}

// Join puts errors together, with all their reasons. Nil ones do not count.
func Join(failures ...error) error {
	joined := errors.Join(failures...)
	if joined == nil {
		return nil
	}
	text := ""
	for _, err := range failures {
		switch {
		case err == nil:
		case text == "":
			text = Reason(err)
		default:
			text += "; " + Reason(err)
		}
	}
	return &Failure{Text: text, Err: joined}
}

// RemarkLeft remarks that something temporary may be left behind of an operation that
// succeeded all the same.
func RemarkLeft(c *protection.Call, what string, err error) {
	c.Remark(remark.Remark{Aspect: "leftovers", Is: what, Why: Reason(err)})
}

// Words says in words what a request asks for: texts and numbers as they are, the rest in
// JSON, and nothing of what is null.
func Words(body map[string]any) map[string]string {
	words := map[string]string{}
	for name, value := range body {
		text, err := json.Marshal(value)
		var plain string
		switch {
		case err != nil || string(text) == "null" || string(text) == "{}":
			continue
		case json.Unmarshal(text, &plain) != nil:
			plain = string(text)
		}
		words[name] = plain
	}
	return words
}
