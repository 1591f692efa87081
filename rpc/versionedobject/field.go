// SPDX-License-Identifier: Apache-2.0

package versionedobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Get decodes a field into the pointer and reports whether the field is set and not
// null; otherwise the pointer's target is unchanged. Integers that are decoded into an
// any stay exact, as json.Number.
func (o *Object) Get(field string, into any) (bool, error) {
	raw, ok := o.Data[field]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return false, fmt.Errorf("field %s of %s: %w", field, o.Name, err)
	}
	return true, nil
}

// String returns a string field; "" and false when the field is unset or null.
func (o *Object) String(field string) (string, bool, error) {
	var s string
	ok, err := o.Get(field, &s)
	return s, ok, err
}

// Int reads an integer field.
func (o *Object) Int(field string) (int64, bool, error) {
	var n int64
	ok, err := o.Get(field, &n)
	return n, ok, err
}

// Bool reads a boolean field.
func (o *Object) Bool(field string) (value, ok bool, err error) {
	ok, err = o.Get(field, &value)
	return value, ok, err
}

// Time reads a date and time field, see ParseTime.
func (o *Object) Time(field string) (time.Time, bool, error) {
	text, ok, err := o.String(field)
	if !ok || err != nil {
		return time.Time{}, false, err
	}
	t, err := ParseTime(text)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("field %s of %s: %w", field, o.Name, err)
	}
	return t, true, nil
}

// Object reads a nested object. It is nil when the field is unset or null.
func (o *Object) Object(field, prefix string) (*Object, error) {
	raw, ok := o.Data[field]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	nested, err := Decode(raw, prefix)
	if err != nil {
		return nil, fmt.Errorf("field %s of %s: %w", field, o.Name, err)
	}
	return nested, nil
}

// List reads a list of objects in either of its two forms: a plain array of
// objects or a list object, whose field "objects" holds the array. null is an
// empty list.
func List(value json.RawMessage, prefix string) ([]*Object, error) {
	if Is(value, prefix) {
		list, err := Decode(value, prefix)
		if err != nil {
			return nil, err
		}
		value = list.Data["objects"]
		if value == nil {
			return nil, fmt.Errorf("list %s without objects", list.Name)
		}
	}
	var items []json.RawMessage
	if err := json.Unmarshal(value, &items); err != nil {
		return nil, fmt.Errorf("list of versioned objects: %w", err)
	}
	objects := make([]*Object, 0, len(items))
	for i, item := range items {
		o, err := Decode(item, prefix)
		if err != nil {
			return nil, fmt.Errorf("item %d of a list: %w", i, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// timeForms are the layouts that receivers accept once the zone has been cut off.
var timeForms = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// FormatTime writes a time as oslo.versionedobjects does: UTC, whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// ParseTime parses an ISO 8601 time with or without fraction, zone or the T. A zone is
// dropped without conversion and the wall clock taken as UTC, as in the services'
// fields, which have tzinfo_aware=False.
func ParseTime(text string) (time.Time, error) {
	naive := cutZone(text)
	for _, form := range timeForms {
		if t, err := time.Parse(form, naive); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date and time in ISO 8601", text)
}

// cutZone removes Z, +hh:mm, +hhmm and +hh, also when they follow the letters UTC.
func cutZone(text string) string {
	clock := strings.IndexAny(text, "T ")
	if clock < 0 {
		return text
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "Z"), "z")
	if i := strings.LastIndexAny(text, "+-"); i > clock {
		text = text[:i]
	}
	return strings.TrimSuffix(strings.TrimSpace(text), "UTC")
}

// parseVersion reads major and minor and ignores what follows.
func parseVersion(text string) ([2]int, error) {
	var v [2]int
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 2 {
		return v, errors.New("version " + strconv.Quote(text) + " is not of the form major.minor")
	}
	for i := range v {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return v, errors.New("version " + strconv.Quote(text) + " is not made of numbers")
		}
		v[i] = n
	}
	return v, nil
}
