// SPDX-License-Identifier: Apache-2.0

package database_test

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/database"
)

// An operation is written down when it begins and when it ends.
func ExampleOpen() {
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite://", database.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if err := db.Sync(ctx); err != nil {
		fmt.Println(err)
		return
	}

	id, err := db.CreateOperationLog(ctx, &database.OperationLog{
		ProjectID: "demo", OperationType: "protect", Status: "protecting",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	available := "available"
	if err := db.UpdateOperationLog(ctx, id, database.OperationLogUpdate{Status: &available}); err != nil {
		fmt.Println(err)
		return
	}
	log, err := db.GetOperationLog(ctx, id)
	fmt.Println(log.OperationType, log.Status, err)
	// Output: protect available <nil>
}
