// SPDX-License-Identifier: Apache-2.0

package history

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// builder makes histories in which each deed takes one step of time.
type builder struct {
	events []Event
	now    int64
	deeds  int64
}

func (b *builder) add(e Event) {
	b.now++
	e.At = b.now
	b.events = append(b.events, e)
}

// did adds a deed; edit may change what is known afterwards.
func (b *builder) did(process string, e Event, edit ...func(*Event)) {
	b.asked(process, e)
	after := Event{Process: process, Deed: b.deeds, What: e.What, Phase: After, Fresh: e.What == Begin}
	for _, f := range edit {
		f(&after)
	}
	b.add(after)
}

// asked adds a deed in whose midst its process was killed.
func (b *builder) asked(process string, e Event) {
	b.deeds++
	e.Process, e.Deed, e.Phase = process, b.deeds, Before
	b.add(e)
}

func failed(text string) func(*Event) { return func(e *Event) { e.Error = text } }

const (
	indexJSON = "/checkpoints/c1/index.json"
	section   = "/checkpoints/c1/resource-data/r1/"
	copied    = "/checkpoints/c6/resource-data/r1/"
)

// good is a case without a fault: a protection that changed hands, a restore, a
// verification, the deletion of another checkpoint, a copy, and a protection and
// a restore that were cancelled.
func good() (*builder, Case) {
	b := &builder{}
	b.add(Event{What: Secret, Key: "s3cret-token"})
	b.did("p1", Event{What: Begin, Operation: "o1", Kind: "protect", Checkpoint: "c1", Plan: "plan1", Owner: "w1"})
	b.did("p1", Event{What: Put, Key: indexJSON, Status: "protecting"})
	b.did("p1", Event{What: Reply, Key: "call1", Status: "ok"})
	b.did("p1", Event{What: CreateLog, Operation: "o1", Status: "protecting"})
	b.asked("p1", Event{What: Put, Key: section + "data_1"})
	b.did("p2", Event{What: Adopt, Operation: "o1", From: "w1", Owner: "w2"})
	b.did("p2", Event{What: Put, Key: section + "data_1"})
	b.did("p2", Event{What: Write, Operation: "o1", Done: []string{"r1 on_main"}})
	b.did("p2", Event{What: Put, Key: indexJSON, Status: "available"})
	b.did("p2", Event{What: UpdateLog, Operation: "o1", Status: "available", Closed: true})
	b.did("p2", Event{What: End, Operation: "o1", Status: "succeeded"})
	b.did("p2", Event{What: UpdateRecord, Key: "record1", Status: "in_progress"})
	b.did("p2", Event{What: UpdateRecord, Key: "record1", Status: "success"})
	b.did("p2", Event{What: Begin, Operation: "o6", Kind: "copy", Checkpoint: "c6", Plan: "plan1", Owner: "w2"})
	for _, status := range []string{"wait_copying", "copying", "available"} {
		b.did("p2", Event{What: Put, Key: "/checkpoints/c6/index.json", Status: status})
	}
	b.did("p2", Event{What: Begin, Operation: "o7", Kind: "protect", Checkpoint: "c7", Plan: "plan7", Owner: "w2"})
	b.did("p2", Event{What: Cancel, Operation: "o7"})
	for _, status := range []string{"protecting", "error"} {
		b.did("p2", Event{What: Put, Key: "/checkpoints/c7/index.json", Status: status})
	}
	b.did("p2", Event{What: UpdateRecord, Key: "record8", Status: "fail"})
	data := []byte("data of an image")
	sum := md5.Sum(data)
	index := func(id, plan, status string) []byte {
		return fmt.Appendf(nil, `{"id": %q, "status": %q, "provider_id": "prov", "project_id": "proj", "created_at": "2026-01-02", "timestamp": 7,
			"protection_plan": {"id": %q, "resources": [{"id": "r1"}]}}`, id, status, plan)
	}
	return b, Case{
		Requests: []Request{
			{Kind: "protect", Plan: "plan1", Answered: true, Result: "c1"},
			{Kind: "protect", Plan: "plan2", Answered: true, Result: "c2"},
			{Kind: "protect", Plan: "plan3"}, // its worker died with the request
			{Kind: "restore", Checkpoint: "c1", Answered: true, Result: "record1", Image: "image1"},
			{Kind: "verify", Checkpoint: "c1", Answered: true, Result: "record2"},
			{Kind: "delete", Checkpoint: "c2", Answered: true},
			{Kind: "copy", Plan: "plan1", Answered: true, Result: "c6"},
			{Kind: "protect", Plan: "plan7", Answered: true, Result: "c7", Cancelled: true},
			{Kind: "restore", Checkpoint: "c6", Answered: true, Result: "record8", Image: "image8", Cancelled: true},
		},
		State: State{
			Operations: []Operation{
				{ID: "o1", Kind: "protect", Checkpoint: "c1", Plan: "plan1", Ended: true, Outcome: "succeeded"},
				{ID: "o2", Kind: "protect", Checkpoint: "c2", Plan: "plan2", Ended: true, Outcome: "succeeded"},
				{ID: "o3", Kind: "restore", Checkpoint: "c1", Record: "record1", Ended: true, Outcome: "succeeded"},
				{ID: "o4", Kind: "verify", Checkpoint: "c1", Record: "record2", Ended: true, Outcome: "succeeded"},
				{ID: "o5", Kind: "delete", Checkpoint: "c2", Ended: true, Outcome: "succeeded"},
				{ID: "o6", Kind: "copy", Checkpoint: "c6", Plan: "plan1", Ended: true, Outcome: "succeeded"},
				{ID: "o7", Kind: "protect", Checkpoint: "c7", Plan: "plan7", Ended: true, Outcome: "cancelled", CancelledBy: "alice"},
				{ID: "o8", Kind: "restore", Checkpoint: "c6", Record: "record8", Ended: true, Outcome: "cancelled", CancelledBy: "alice"},
			},
			Logs: []Log{{"o1", "available", true}, {"o2", "available", true}, {"o3", "success", true}, {"o4", "success", true}, {"o5", "deleted", true},
				{"o6", "available", true}, {"o7", "error", true}, {"o8", "fail", true}},
			Records: []Record{{"record1", "restore", "success"}, {"record2", "verify", "success"}, {"record8", "restore", "fail"}},
			Objects: map[string][]byte{
				indexJSON: index("c1", "plan1", "available"), section + "status": []byte(`"available"`), section + "data_1": data,
				section + "metadata":                          fmt.Appendf(nil, `{"chunks_num": 1, "image_metadata": {"checksum": %q}}`, hex.EncodeToString(sum[:])),
				"/checkpoints/c2/index.json":                  index("c2", "plan2", "deleted"),
				"/checkpoints/c2/resource-data/r1/status":     []byte(`"deleted"`),
				"/indices/by-provider/prov/proj/7@c1":         nil,
				"/indices/by-date/2026-01-02/proj/7@c1":       nil,
				"/indices/by-plan/plan1/proj/2026-01-02/7@c1": nil,

				"/checkpoints/c6/index.json":                  index("c6", "plan1", "available"),
				copied + "status":                             []byte(`"available"`),
				copied + "data_1":                             data,
				copied + "metadata":                           fmt.Appendf(nil, `{"chunks_num": 1, "image_metadata": {"checksum": %q}}`, hex.EncodeToString(sum[:])),
				"/indices/by-provider/prov/proj/7@c6":         nil,
				"/indices/by-date/2026-01-02/proj/7@c6":       nil,
				"/indices/by-plan/plan1/proj/2026-01-02/7@c6": nil,

				"/checkpoints/c7/index.json":                  index("c7", "plan7", "error"),
				"/checkpoints/c7/resource-data/r1/status":     []byte(`"deleted"`),
				"/indices/by-provider/prov/proj/7@c7":         nil,
				"/indices/by-date/2026-01-02/proj/7@c7":       nil,
				"/indices/by-plan/plan7/proj/2026-01-02/7@c7": nil,
			},
			Copies: true,
			Images: []Image{{"i1", "image1", "active"}},
			Leases: map[string]bool{"w2": true},
			Queues: map[string]int{"topic": 0},
			Texts:  map[string]string{"log": "nothing to see"},
		},
	}
}

func TestJudgeAcquits(t *testing.T) {
	t.Parallel()
	b, c := good()
	c.Events = b.events
	for _, f := range Judge(c) {
		t.Error(f)
	}
}

// TestJudge spoils the good case in one place each.
func TestJudge(t *testing.T) {
	t.Parallel()
	operation := func(c *Case, i int, edit func(*Operation)) { edit(&c.State.Operations[i]) }
	for name, tc := range map[string]struct {
		want  Promise
		spoil func(b *builder, c *Case)
	}{
		"protected twice": {OnceEach, func(_ *builder, c *Case) {
			operation(c, 1, func(o *Operation) { o.Plan = "plan1" })
		}},
		"accepted and lost": {OnceEach, func(_ *builder, c *Case) { c.State.Operations = slices.Delete(c.State.Operations, 4, 5) }},
		"two images of a restore": {OnceEach, func(_ *builder, c *Case) {
			c.State.Images = append(c.State.Images, Image{"i2", "image1", "active"})
		}},
		"no image of a restore": {OnceEach, func(_ *builder, c *Case) { c.State.Images = nil }},
		"no record":             {OnceEach, func(_ *builder, c *Case) { c.State.Records = c.State.Records[1:] }},
		"never ends":            {AllEnd, func(_ *builder, c *Case) { operation(c, 0, func(o *Operation) { o.Ended = false }) }},
		"failed":                {AllEnd, func(_ *builder, c *Case) { operation(c, 0, func(o *Operation) { o.Outcome = "failed" }) }},
		"a copy twice": {OnceEach, func(_ *builder, c *Case) {
			c.State.Operations = append(c.State.Operations, Operation{ID: "o9", Kind: "copy", Checkpoint: "c9", Plan: "plan1", Ended: true, Outcome: "succeeded"})
		}},
		"ended as cancelled by nobody": {AllEnd, func(_ *builder, c *Case) { operation(c, 6, func(o *Operation) { o.CancelledBy = "" }) }},
		"cancelled in vain":            {AllEnd, func(_ *builder, c *Case) { operation(c, 6, func(o *Operation) { o.Outcome = "succeeded" }) }},
		"cancelled and failed":         {AllEnd, func(_ *builder, c *Case) { operation(c, 7, func(o *Operation) { o.Outcome = "failed" }) }},
		"cancelled and going on": {AllEnd, func(_ *builder, c *Case) {
			key := "/checkpoints/c7/index.json"
			c.State.Objects[key] = []byte(strings.Replace(string(c.State.Objects[key]), "error", "protecting", 1))
		}},
		"record of a cancelled restore": {AllEnd, func(_ *builder, c *Case) { c.State.Records[2].Status = "success" }},
		"stuck": {AllEnd, func(_ *builder, c *Case) {
			c.State.Objects[indexJSON] = []byte(strings.Replace(string(c.State.Objects[indexJSON]), "available", "protecting", 1))
		}},
		"record in progress": {AllEnd, func(_ *builder, c *Case) { c.State.Records[0].Status = "in_progress" }},
		"a message is left":  {AllEnd, func(_ *builder, c *Case) { c.State.Queues["topic"] = 1 }},
		"backed up again":    {NotAgain, func(b *builder, _ *Case) { b.did("p2", Event{What: Put, Key: section + "data_1"}) }},
		"copied again": {NotAgain, func(b *builder, _ *Case) {
			b.did("p2", Event{What: Write, Operation: "o6", Done: []string{"r1 on_main"}})
			b.did("p2", Event{What: Put, Key: copied + "data_1"})
		}},
		"a copy without data": {Whole, func(_ *builder, c *Case) { delete(c.State.Objects, copied+"data_1") }},
		"data missing":        {Whole, func(_ *builder, c *Case) { delete(c.State.Objects, section+"data_1") }},
		"data differ":         {Whole, func(_ *builder, c *Case) { c.State.Objects[section+"data_1"] = []byte("x") }},
		"data left over":      {Whole, func(_ *builder, c *Case) { c.State.Objects[section+"data_2"] = nil }},
		"broken index.json":   {Whole, func(_ *builder, c *Case) { c.State.Objects[indexJSON] = []byte("{") }},
		"entry missing": {IndicesAgree, func(_ *builder, c *Case) {
			delete(c.State.Objects, "/indices/by-date/2026-01-02/proj/7@c1")
		}},
		"entry of a deleted checkpoint": {IndicesAgree, func(_ *builder, c *Case) {
			c.State.Objects["/indices/by-provider/prov/proj/7@c2"] = nil
		}},
		"sleeper writes to the bank": {OwnersWrite, func(b *builder, _ *Case) { b.did("p1", Event{What: Put, Key: section + "status"}) }},
		"sleeper writes to the journal": {OwnersWrite, func(b *builder, _ *Case) {
			b.did("p1", Event{What: Write, Operation: "o1"})
		}},
		"write without the lease": {OwnersWrite, func(b *builder, _ *Case) {
			b.did("p2", Event{What: Put, Key: section + "status", LeaseLost: true})
		}},
		"two answers":    {OneAnswer, func(b *builder, _ *Case) { b.did("p2", Event{What: Reply, Key: "call1", Status: "failed"}) }},
		"answered twice": {OneAnswer, func(b *builder, _ *Case) { b.did("p1", Event{What: Reply, Key: "call1", Status: "ok"}) }},
		"data of a deleted checkpoint": {NothingLeft, func(_ *builder, c *Case) {
			c.State.Objects["/checkpoints/c2/resource-data/r1/data_1"] = nil
		}},
		"data of no checkpoint": {NothingLeft, func(_ *builder, c *Case) { c.State.Objects["/checkpoints/c9/resource-data/r1/data_1"] = nil }},
		"data of a cancelled protection": {NothingLeft, func(_ *builder, c *Case) {
			c.State.Objects["/checkpoints/c7/resource-data/r1/data_1"] = nil
		}},
		"image of a cancelled restore": {NothingLeft, func(_ *builder, c *Case) { c.State.Images = append(c.State.Images, Image{"i8", "image8", "active"}) }},
		"no log of what was cancelled": {LogsClosed, func(_ *builder, c *Case) { c.State.Logs = slices.Delete(c.State.Logs, 6, 7) }},
		"ended in two ways":            {LegalStatuses, func(b *builder, _ *Case) { b.did("p2", Event{What: End, Operation: "o1", Status: "failed"}) }},
		"copying after the end": {LegalStatuses, func(b *builder, _ *Case) {
			b.did("p2", Event{What: Put, Key: "/checkpoints/c6/index.json", Status: "copying"})
		}},
		"token in an answer": {NoSecrets, func(b *builder, _ *Case) { b.did("p2", Event{What: Reply, Key: "call9", Text: "s3cret-token"}) }},
		"image of nobody":    {NothingLeft, func(_ *builder, c *Case) { c.State.Images = append(c.State.Images, Image{"i2", "image2", "active"}) }},
		"half an image":      {NothingLeft, func(_ *builder, c *Case) { c.State.Images[0].Status = "queued" }},
		"eternal lease":      {NothingLeft, func(_ *builder, c *Case) { c.State.Leases["w1"] = false }},
		"stray rows":         {NothingLeft, func(_ *builder, c *Case) { c.State.Strays = 1 }},
		"open log":           {LogsClosed, func(_ *builder, c *Case) { c.State.Logs[0].Closed = false }},
		"no log":             {LogsClosed, func(_ *builder, c *Case) { c.State.Logs = c.State.Logs[1:] }},
		"log of nothing":     {LogsClosed, func(_ *builder, c *Case) { c.State.Logs = append(c.State.Logs, Log{"o9", "success", true}) }},
		"back to protecting": {LegalStatuses, func(b *builder, _ *Case) { b.did("p2", Event{What: Put, Key: indexJSON, Status: "protecting"}) }},
		"back to in progress": {LegalStatuses, func(b *builder, _ *Case) {
			b.did("p2", Event{What: UpdateRecord, Key: "record1", Status: "in_progress"})
		}},
		"closed log goes on": {LegalStatuses, func(b *builder, _ *Case) {
			b.did("p2", Event{What: UpdateLog, Operation: "o1", Status: "protecting"})
		}},
		"token in a log":    {NoSecrets, func(_ *builder, c *Case) { c.State.Texts["log"] = "sent s3cret-token" }},
		"token in the bank": {NoSecrets, func(_ *builder, c *Case) { c.State.Objects[section+"status"] = []byte(`"available" s3cret-token`) }},
		"token in an error": {NoSecrets, func(b *builder, _ *Case) { b.did("p2", Event{What: Ack}, failed("with s3cret-token")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := good()
			tc.spoil(b, &c)
			c.Events = b.events
			found := Judge(c)
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Promise == tc.want }) {
				t.Errorf("found %v, want %q", found, tc.want)
			}
		})
	}
}

// TestJudgeIsFair lists what looks wrong and is not.
func TestJudgeIsFair(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(b *builder){
		"a sleeper whose write was refused": func(b *builder) {
			b.did("p1", Event{What: Put, Key: section + "status"}, failed("bank lease is not held"))
		},
		"a write without the lease that was refused": func(b *builder) {
			b.did("p2", Event{What: Put, Key: section + "status", LeaseLost: true}, failed("bank lease is not held"))
		},
		"a first write that was broken off, and had been done": func(b *builder) {
			b.did("p1", Event{What: Put, Key: "/checkpoints/c4/index.json", Status: "protecting"}, failed("bank lease is not held"))
			b.did("p2", Event{What: Put, Key: "/checkpoints/c4/index.json", Status: "available"})
		},
		"a begin that its worker noted late, for it was stopped": func(b *builder) {
			b.asked("p5", Event{What: Begin, Operation: "o8", Kind: "delete", Checkpoint: "c8", Owner: "w5"})
			begin := b.deeds
			b.did("p6", Event{What: Adopt, Operation: "o8", From: "w5", Owner: "w6"}, func(e *Event) { e.Generation = 2 })
			b.add(Event{Process: "p5", Deed: begin, What: Begin, Phase: After, Fresh: true, Generation: 1})
			b.did("p6", Event{What: Write, Operation: "o8"})
		},
		"the same answer again": func(b *builder) { b.did("p2", Event{What: Reply, Key: "call1", Status: "ok"}) },
		"signs of life":         func(b *builder) { b.did("p2", Event{What: Reply}); b.did("p2", Event{What: Reply, Status: "x"}) },
		"a deletion that was killed and began again": func(b *builder) {
			b.did("p2", Event{What: Begin, Operation: "o9", Kind: "delete", Checkpoint: "c3"})
			for _, status := range []string{"protecting", "available"} {
				b.did("p2", Event{What: Put, Key: "/checkpoints/c3/index.json", Status: status})
			}
			b.asked("p2", Event{What: Put, Key: "/checkpoints/c3/index.json", Status: "deleting"})
			b.did("p3", Event{What: Adopt, Operation: "o9", From: "w2", Owner: "w3"})
			b.did("p3", Event{What: Put, Key: "/checkpoints/c3/index.json", Status: "deleting"})
			b.did("p3", Event{What: Put, Key: "/checkpoints/c3/index.json", Status: "deleted"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := good()
			add(b)
			c.Events = b.events
			for _, f := range Judge(c) {
				t.Error(f)
			}
		})
	}
}

func TestJudgeHandover(t *testing.T) {
	t.Parallel()
	b := &builder{}
	b.did("p1", Event{What: Retire, Owner: "w1"})
	b.did("p2", Event{What: Adopt, Operation: "o1", From: "w1", Owner: "w2"})
	b.did("p2", Event{What: Adopt, Operation: "o1", From: "w2", Owner: "w2"}) // its own, after a pause
	b.did("p3", Event{What: Adopt, Operation: "o1", From: "w1", Owner: "w3"}, failed("too late"))
	if found, changes := JudgeHandover(b.events); len(found) != 0 || changes != 1 {
		t.Errorf("found %v in %d changes, want none in 1", found, changes)
	}
	b.did("p3", Event{What: Adopt, Operation: "o1", From: "w2", Owner: "w3"})
	if found, changes := JudgeHandover(b.events); len(found) != 1 || changes != 2 {
		t.Errorf("found %v in %d changes, want one in 2", found, changes)
	}
}

// TestRecorder writes with two processes, one of which is broken off in a line.
func TestRecorder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history")
	for _, process := range []string{"p1", "p2"} {
		r, err := NewRecorder(path, process)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.Add(Event{What: Ack, Deed: r.Deed(), Phase: Before}); err != nil {
				t.Fatal(err)
			}
		}
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"at": 9`); err != nil {
		t.Fatal(err)
	}
	events, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.Process, e.Deed, e.Point()))
	}
	if want := "[p11ack.before p12ack.before p21ack.before p22ack.before]"; fmt.Sprint(got) != want {
		t.Errorf("read %v, want %s", got, want)
	}
	if events, err := Read(path + ".none"); err != nil || events != nil {
		t.Errorf("without a file: %v, %v", events, err)
	}
}
