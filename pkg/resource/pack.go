// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"strconv"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// Pack writes a graph as the text that a checkpoint keeps under
// resource_graph: a JSON list of two, the nodes and the adjacency list.
//
//	[{"0x0": [type, id, name, extra_info], ...}, [["0x2", ["0x0", "0x1"]], ...]]
//
// Nodes are numbered children first; only nodes with children have a line in
// the adjacency list, in the same order. The text is Python's, byte for byte.
// Errors: ErrLoop, and an extra_info that is not JSON.
//
// karbor: services/protection/graph.py, pack_graph and serialize_resource_graph
func Pack(g *Graph) (string, error) {
	order, err := postOrder(g.Roots)
	if err != nil {
		return "", err
	}
	number := make(map[*Node]int, len(order))
	text := append(make([]byte, 0, 128*len(order)+8), "[{"...)
	for i, n := range order {
		number[n] = i
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(appendNumber(text, i), ": "...)
		if text, err = appendResource(text, n.Resource); err != nil {
			return "", fmt.Errorf("pack extra_info of %s: %w", n.Key(), err)
		}
	}
	text = append(text, "}, ["...)
	separator := ""
	for i, n := range order {
		if len(n.Children) == 0 {
			continue
		}
		text = append(text, separator...)
		text = appendAdjacency(text, i, n.Children, number)
		separator = ", "
	}
	return string(append(text, "]]"...)), nil
}

func appendResource(text []byte, r Resource) ([]byte, error) {
	text = append(text, '[')
	for _, s := range [...]string{r.Type, r.ID} {
		text = append(pyjson.AppendString(text, s), ", "...)
	}
	text = append(AppendName(text, r), ", "...)
	text, err := pyjson.Append(text, r.ExtraInfo)
	return append(text, ']'), err
}

// AppendName appends the name of a resource as JSON.
func AppendName(text []byte, r Resource) []byte {
	if r.Unnamed {
		return append(text, "null"...)
	}
	return pyjson.AppendString(text, r.Name)
}

func appendAdjacency(text []byte, parent int, children []*Node, number map[*Node]int) []byte {
	text = append(appendNumber(append(text, '['), parent), ", ["...)
	for i, c := range children {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = appendNumber(text, number[c])
	}
	return append(text, "]]"...)
}

// appendNumber writes the name of a node, as Python's hex().
func appendNumber(text []byte, n int) []byte {
	text = strconv.AppendInt(append(text, `"0x`...), int64(n), 16)
	return append(text, '"')
}
