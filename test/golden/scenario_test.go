// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// scenario is one recorded call with its effects.
type scenario struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Messages are the request, then its replies.
	Messages []message `json:"messages"`
	// BankAfter are the objects of the bank that belong to the checkpoint of the
	// call, once its flow had ended. nil: not recorded.
	BankAfter map[string]string `json:"bank_after"`
	// BankLeft are objects that the call left there too, put together from
	// later scenarios, which need them.
	BankLeft map[string]string `json:"bank_left"`
	// Rows of the database once the flow had ended. nil: not recorded.
	OperationLogs []row `json:"operation_logs"`
	Restores      []row `json:"restores"`
	Verifications []row `json:"verifications"`
}

// row is a row of a table by column.
type row map[string]any

func load(name string) (*scenario, error) {
	text, err := os.ReadFile(filepath.Join("testdata", "rpc", name+".json"))
	if err != nil {
		return nil, err
	}
	var s scenario
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	return &s, nil
}

// loadAll returns the scenarios in the order in which they were recorded.
func loadAll() ([]*scenario, error) {
	text, err := os.ReadFile(filepath.Join("testdata", "order.json"))
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, err
	}
	all := make([]*scenario, 0, len(names))
	for _, name := range names {
		s, err := load(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
