// SPDX-License-Identifier: Apache-2.0

// Command field prints one field of the JSON on its standard input, for scripts: field NAME. Of a list
// it takes the first entry; an empty list, or a field that is not there, prints nothing.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: field NAME <JSON")
		os.Exit(2)
	}
	var value any
	if err := json.NewDecoder(os.Stdin).Decode(&value); err != nil {
		fmt.Fprintln(os.Stderr, "field: reading JSON:", err)
		os.Exit(1)
	}
	if found := field(value, os.Args[1]); found != nil {
		fmt.Println(found)
	}
}

// field is the value of that name in value, in its first entry if it is a list, or nil.
func field(value any, name string) any {
	switch v := value.(type) {
	case []any:
		if len(v) > 0 {
			return field(v[0], name)
		}
	case map[string]any:
		return v[name]
	}
	return nil
}
