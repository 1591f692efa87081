// SPDX-License-Identifier: Apache-2.0

package remark

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var server = Resource{Type: "OS::Nova::Server", ID: "s"}

func TestString(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Remark{
		"zone: was a, is b (gone)": {Aspect: "zone", Was: "a", Is: "b", Why: "gone"},
		"zone: was a, is none":     {Aspect: "zone", Was: "a"},
		"image: is left behind":    {Aspect: "image", Is: "left behind"},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestListKeepsEachOnceAndInOrder(t *testing.T) {
	t.Parallel()
	l := &List{}
	for _, r := range []Remark{
		{Resource: server, Aspect: "zone", Was: "a", Why: "request 1"},
		{Resource: server, Aspect: "key pair", Was: "mine"},
		{Resource: server, Aspect: "zone", Was: "a", Why: "request 2"},
		{Resource: Resource{Type: "OS::Cinder::Volume", ID: "v"}, Aspect: "zone", Was: "a"},
	} {
		l.Add(r)
	}
	want := Document{Version: 1, Remarks: []Remark{
		{Resource: Resource{Type: "OS::Cinder::Volume", ID: "v"}, Aspect: "zone", Was: "a"},
		{Resource: server, Aspect: "key pair", Was: "mine"},
		{Resource: server, Aspect: "zone", Was: "a", Why: "request 2"},
	}}
	if diff := cmp.Diff(want, l.Document()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want.Remarks[1:], l.Of(server)); diff != "" {
		t.Errorf("of the server: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want, Merge(want, l.Document())); diff != "" {
		t.Errorf("merged with itself: -want +got:\n%s", diff)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", MaxText)
	l := &List{}
	kept, ok := l.Add(Remark{Resource: server, Aspect: long, Was: "\xff" + long, Why: long})
	if !ok || kept.size() > 4*MaxText || !strings.HasSuffix(kept.Why, "ä...") || !strings.HasPrefix(kept.Was, "\uFFFDä") {
		t.Errorf("kept %d bytes: %q", kept.size(), kept.Was)
	}
	for i := range MaxKept + 3 {
		l.Add(Remark{Resource: server, Aspect: "n", Was: fmt.Sprint(i)})
	}
	if d := l.Document(); len(d.Remarks) != MaxKept || d.More != 4 {
		t.Errorf("%d are kept, and %d more", len(d.Remarks), d.More)
	}
	if _, ok := l.Add(kept); !ok || l.More() != 4 {
		t.Error("one that is there counts again")
	}
	heavy := &List{}
	for i := range MaxKept {
		heavy.Add(Remark{Aspect: fmt.Sprint(i), Was: long, Is: long, Why: long})
	}
	if d := heavy.Document(); len(d.Remarks) < MaxBytes/(4*MaxText) || len(d.Remarks)+d.More != MaxKept || d.More == 0 {
		t.Errorf("%d heavy ones are kept, and %d more", len(d.Remarks), d.More)
	}
}

func TestTextIsBounded(t *testing.T) {
	t.Parallel()
	remarks := []Remark{{Aspect: "zone", Was: "a"}, {Aspect: "key pair", Is: "b"}}
	if got := Text(remarks); got != "zone: was a, is none; key pair: is b" {
		t.Errorf("%q", got)
	}
	if got := Text(nil); got != "" {
		t.Errorf("of none: %q", got)
	}
	var many []Remark
	for range 1000 {
		many = append(many, remarks...)
	}
	if got := Text(many); len(got) > longestText+100 || !strings.HasSuffix(got, " more") {
		t.Errorf("%d bytes: ...%s", len(got), got[len(got)-20:])
	}
}
