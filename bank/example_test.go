// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/filesystem"
)

func Example() {
	dir, err := os.MkdirTemp("", "bank")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	plugin, err := filesystem.New(filesystem.Config{Path: dir, Container: "karbor"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := bank.New(plugin, nil)
	defer b.Close()

	ctx := context.Background()
	section, err := b.Section("/checkpoints/1/resource-data/volume-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	metadata := struct {
		BackupID string `json:"backup_id"`
		Size     int    `json:"size"`
	}{"backup-1", 2}
	if err := section.PutJSON(ctx, "metadata", metadata); err != nil {
		fmt.Println(err)
	}
	if err := section.PutText(ctx, "status", "available"); err != nil {
		fmt.Println(err)
	}

	keys, err := section.List(ctx, bank.ListOptions{})
	fmt.Println(keys, err)
	text, err := section.GetText(ctx, "metadata")
	fmt.Println(text, err)
	_, err = section.GetText(ctx, "data_1")
	fmt.Println(err, errors.Is(err, bank.ErrNotFound))
	// Output:
	// [metadata status] <nil>
	// {"backup_id": "backup-1", "size": 2} <nil>
	// Get Object /checkpoints/1/resource-data/volume-1/data_1 in Bank Failed: Object is not a file true
}
