// SPDX-License-Identifier: Apache-2.0

package remotetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// list answers a page of a listing, the newest first. The marker is the number of
// things before the page.
func (f *Fake) list(w http.ResponseWriter, r *http.Request, k Kind) {
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("marker"))
	matching := []*Thing{}
	for _, t := range slices.Backward(slices.Clone(f.things[k.Name])) {
		fits := true
		for _, name := range k.Filters {
			fits = fits && (!query.Has(name) || t.Field(name) == query.Get(name))
		}
		if fits && f.look(k.Name, t) {
			matching = append(matching, t)
		}
	}
	page := matching[min(skip, len(matching)):]
	body := map[string]any{}
	if k.PageSize > 0 && len(page) > k.PageSize {
		page = page[:k.PageSize]
		query.Set("marker", strconv.Itoa(skip+k.PageSize))
		body["links"] = []any{map[string]any{"rel": "next", "href": "http://elsewhere" + r.URL.Path + "?" + query.Encode()}}
	}
	views := []any{}
	for _, t := range page {
		views = append(views, f.view(t))
	}
	body[k.Name] = views
	answer(w, http.StatusOK, body)
}

// wanted finds the thing of a path, or answers that it is not there.
func (f *Fake) wanted(w http.ResponseWriter, r *http.Request, k Kind) *Thing {
	id := r.PathValue("id")
	t := f.Find(k.Name, id)
	if t == nil {
		refuse(w, Refusal{http.StatusNotFound, fmt.Sprintf("%s %s could not be found.", k.Member, id)})
	}
	return t
}

func (f *Fake) show(w http.ResponseWriter, r *http.Request, k Kind) {
	t := f.wanted(w, r, k)
	if t == nil {
		return
	}
	if !f.look(k.Name, t) {
		refuse(w, Refusal{http.StatusNotFound, fmt.Sprintf("%s %s could not be found.", k.Member, t.ID)})
		return
	}
	answer(w, http.StatusOK, map[string]any{k.Member: f.view(t)})
}

func (f *Fake) remove(w http.ResponseWriter, r *http.Request, k Kind) {
	t := f.wanted(w, r, k)
	if t == nil {
		return
	}
	if !slices.Contains(k.Deletable, t.Status) {
		refuse(w, Refusal{k.Undeletable, fmt.Sprintf("%s %s cannot be deleted, its status is %s.", k.Member, t.ID, t.Status)})
		return
	}
	if k.Going != "" {
		t.Status = k.Going
	}
	t.looks, t.next = f.Looks, ""
	w.WriteHeader(http.StatusAccepted)
}

// body reads the member of a body into the fields of a thing, or answers that it
// is wrong. What is null is as if it were not there.
func body(w http.ResponseWriter, r *http.Request, k Kind) map[string]any {
	var whole map[string]map[string]any
	if err := json.NewDecoder(r.Body).Decode(&whole); err != nil || whole[k.Member] == nil {
		refuse(w, Refusal{http.StatusBadRequest, fmt.Sprintf("Invalid input for field/attribute %s: %v", k.Member, err)})
		return nil
	}
	fields := whole[k.Member]
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return fields
}

func (f *Fake) create(w http.ResponseWriter, r *http.Request, k Kind) {
	fields := body(w, r, k)
	if fields == nil {
		return
	}
	t := &Thing{ID: newID(), Status: k.Making, Fields: fields, looks: f.Looks, next: k.Whole}
	if refused := k.Create(f, t); refused != nil {
		refuse(w, *refused)
		return
	}
	if f.fails[k.Name] {
		t.next, t.Data = k.Failed, ""
	}
	f.things[k.Name] = append(f.things[k.Name], t)
	answer(w, k.Code, map[string]any{k.Member: f.view(t)})
}

func (f *Fake) change(w http.ResponseWriter, r *http.Request, k Kind) {
	t := f.wanted(w, r, k)
	if t == nil {
		return
	}
	fields := body(w, r, k)
	if fields == nil {
		return
	}
	if refused := k.Change(f, t); refused != nil {
		refuse(w, *refused)
		return
	}
	maps.Copy(t.Fields, fields)
	w.WriteHeader(http.StatusAccepted)
}
