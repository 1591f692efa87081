// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

// A worker begins an operation and dies. Another one finds out what has been
// done and goes on.
func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite://", database.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	j := journal.Open(db, journal.Options{})
	defer j.Close()
	if err := j.Sync(ctx); err != nil {
		fmt.Println(err)
		return
	}

	_ = j.Announce(ctx, journal.Owner{ID: "worker-1"}, time.Minute)
	e, fresh, err := j.Begin(ctx, journal.Entry{
		ID: "operation", Kind: "protect", Subject: "checkpoint/1", Exclusive: true, Claim: journal.Claim{Owner: "worker-1"},
	})
	fmt.Println("begun:", fresh, err)
	fmt.Println("noted:", j.Write(ctx, e.ID, e.Claim, journal.Mark{Key: "state/volume-1", Value: []byte(`{"backup": "b1"}`)}))
	_, err = j.Adopt(ctx, e.ID, e.Claim, "worker-2")
	fmt.Println("adopted too soon:", err)

	_ = j.Retire(ctx, "worker-1")
	claim, err := j.Adopt(ctx, e.ID, e.Claim, "worker-2")
	fmt.Println("adopted:", claim, err)
	fmt.Println("the first wakes up:", j.Start(ctx, e.ID, e.Claim))
	marks, _ := j.Marks(ctx, e.ID, "state/")
	fmt.Printf("found: %s %s\n", marks[0].Key, marks[0].Value)
	fmt.Println("ended:", j.End(ctx, e.ID, claim, journal.Succeeded, "", nil))
	// Output:
	// begun: true <nil>
	// noted: <nil>
	// adopted too soon: the operation's owner is alive
	// adopted: {worker-2 2} <nil>
	// the first wakes up: the operation belongs to another worker, or has ended
	// found: state/volume-1 {"backup": "b1"}
	// ended: <nil>
}
