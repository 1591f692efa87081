// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// marshal returns the same text for v as Python's json.dumps.
func marshal(v any) ([]byte, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return nil, err
		}
		raw = text.Bytes()
	}
	return pyjson.Append(make([]byte, 0, len(raw)+len(raw)/8), raw)
}

// unwrap returns the bytes that an object flagged as JSON encodes: the content of a JSON string, or
// the text of any other value. Under Python 3 the original stores UTF-8 bytes that way.
func unwrap(data []byte) ([]byte, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '"' {
		return data, nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, fmt.Errorf("object is flagged as JSON but is not: %w", err)
	}
	return []byte(text), nil
}
