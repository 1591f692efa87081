// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

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
			return "", fmt.Errorf("packing extra_info of %s: %w", n.Key(), err)
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

// ErrUnordered reports an adjacency list that gives a node's children after the node
// was used. Every loop does that too.
//
// karbor: services/protection/graph.py, unpack_graph
var ErrUnordered = errors.New("PackedGraph adjacency list must be topologically ordered") //nolint:staticcheck // shown to users as it is

// Unpack decodes the result of Pack. The order of the keys in the object of nodes is
// the order of the roots. Node names may be any text, and a node without extra_info is
// tolerated.
//
// Errors: ErrUnordered, and text that is not a packed graph.
func Unpack(text string) (*Graph, error) {
	p, err := decodePacked(text)
	if err != nil {
		return nil, fmt.Errorf("reading packed resource graph: %w", err)
	}
	used := make([]bool, len(p.nodes))    // as a parent or as a child
	isChild := make([]bool, len(p.nodes)) // these are no roots
	for _, line := range p.adjacency {
		parent, err := p.find(line.parent)
		if err != nil {
			return nil, err
		}
		if used[parent] {
			return nil, ErrUnordered
		}
		children := make([]*Node, len(line.children))
		for i, name := range line.children {
			child, err := p.find(name)
			if err != nil {
				return nil, err
			}
			if child == parent {
				return nil, ErrUnordered
			}
			used[child], isChild[child] = true, true
			children[i] = p.nodes[child]
		}
		used[parent] = true
		p.nodes[parent].Children = children
	}
	g := &Graph{}
	for i, n := range p.nodes {
		if !isChild[i] {
			g.Roots = append(g.Roots, n)
		}
	}
	return g, nil
}

// packed is a packed graph in decoded form, the nodes in the order of their keys.
type packed struct {
	nodes     []*Node
	index     map[string]int
	adjacency []adjacency
}

func (p *packed) find(name string) (int, error) {
	i, ok := p.index[name]
	if !ok {
		return 0, fmt.Errorf("reading packed resource graph: adjacency list names unknown node %.40q", name)
	}
	return i, nil
}

// decodePacked decodes the outer list token by token, since a map would lose the order
// of the keys.
func decodePacked(text string) (*packed, error) {
	d := json.NewDecoder(strings.NewReader(text))
	if err := expect(d, '['); err != nil {
		return nil, err
	}
	p := &packed{index: make(map[string]int)}
	if err := p.decodeNodes(d); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	if err := d.Decode(&p.adjacency); err != nil {
		return nil, fmt.Errorf("adjacency list: %w", err)
	}
	if err := expect(d, ']'); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the graph")
	}
	return p, nil
}

func (p *packed) decodeNodes(d *json.Decoder) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		n := new(Node)
		if err := d.Decode((*value)(&n.Resource)); err != nil {
			return fmt.Errorf("node %.40q: %w", name, err)
		}
		if i, ok := p.index[name]; ok { // as in Python, the last one counts, at the place of the first
			p.nodes[i] = n
			continue
		}
		p.index[name] = len(p.nodes)
		p.nodes = append(p.nodes, n)
	}
	return expect(d, '}')
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("found %.40q in place of %q", fmt.Sprint(got), want)
	}
	return nil
}

// value decodes [type, id, name, extra_info].
type value Resource

func (v *value) UnmarshalJSON(text []byte) error {
	var fields []json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	if len(fields) != 3 && len(fields) != 4 {
		return fmt.Errorf("%d fields in place of 4", len(fields))
	}
	var kind, id string
	var name *string
	for i, to := range [...]any{&kind, &id, &name} {
		if err := json.Unmarshal(fields[i], to); err != nil {
			return err
		}
	}
	*v = value(New(kind, id, name))
	if len(fields) == 4 && string(fields[3]) != "null" {
		v.ExtraInfo = fields[3]
	}
	return nil
}

// adjacency decodes [parent, [child, ...]].
type adjacency struct {
	parent   string
	children []string
}

func (a *adjacency) UnmarshalJSON(text []byte) error {
	var fields []json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	if len(fields) != 2 {
		return fmt.Errorf("%d fields in place of 2", len(fields))
	}
	if err := json.Unmarshal(fields[0], &a.parent); err != nil {
		return err
	}
	return json.Unmarshal(fields[1], &a.children)
}

// Measure counts the nodes of a packed graph and the links between them without
// building either. It detects fewer mistakes in a text than Unpack.
func Measure(text string) (nodes, links int, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	if err := expect(d, '['); err != nil {
		return 0, 0, err
	}
	if err := expect(d, '{'); err != nil {
		return 0, 0, err
	}
	var skipped ignored
	for ; d.More(); nodes++ {
		if _, err := d.Token(); err != nil {
			return 0, 0, err
		}
		if err := d.Decode(&skipped); err != nil {
			return 0, 0, err
		}
	}
	if err := expect(d, '}'); err != nil {
		return 0, 0, err
	}
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return 0, 0, err
		}
		switch token {
		case json.Delim('['):
			depth++
		case json.Delim(']'):
			if depth--; depth == 0 {
				return nodes, links, nil
			}
		default:
			if depth == 3 { // a list of lines, a line, its children
				links++
			}
		}
	}
}

// ignored skips a JSON value.
type ignored struct{}

func (*ignored) UnmarshalJSON([]byte) error { return nil }
