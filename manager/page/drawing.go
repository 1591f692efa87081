// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/resource"
)

// The sizes of a drawing, in pixels.
const (
	boxWidth  = 216
	boxHeight = 60
	columnGap = 48
	rowGap    = 12
	barsFrom  = 12
	barsWidth = boxWidth - 2*barsFrom
)

// mostBoxes is the maximum number of resources with a box each. Above it each type has one box.
const mostBoxes = 24

// drawing is the graph of an operation, with parents to the left of their children.
type drawing struct {
	Width, Height int
	Boxes         []box
	Edges         []edge
}

// box represents a resource, or all resources of a type.
type box struct {
	X, Y            int
	Title, Subtitle string
	Tip             string
	State           string // waiting, running, done, failed
	Bars            []bar
}

func (box) Width() int  { return boxWidth }
func (box) Height() int { return boxHeight }

// Inner and InnerHeight return the size of the box within its border.
func (box) Inner() int       { return boxWidth - 1 }
func (box) InnerHeight() int { return boxHeight - 1 }

// bar represents a hook of a resource, or the share of a type's resources in one state.
type bar struct {
	X, Width int
	State    string
}

// edge leads from a parent to a child.
type edge struct{ X1, Y1, X2, Y2 int }

// Middle returns the x coordinate halfway along the edge.
func (e edge) Middle() int { return (e.X1 + e.X2) / 2 }

// draw draws an operation. It returns nil if the graph is not known yet.
func draw(o operation.Work, trusted bool) *drawing {
	if o.Graph == nil || o.Graph.Len() == 0 {
		return nil
	}
	known := make(map[resource.Key]*progress.Resource, len(o.Resources))
	for i := range o.Resources {
		known[o.Resources[i].Key()] = &o.Resources[i]
	}
	nodes := slices.Clone(o.Graph.Nodes())
	slices.Reverse(nodes) // parents before children
	depth := make(map[*resource.Node]int, len(nodes))
	for _, n := range nodes {
		for _, child := range n.Children {
			depth[child] = max(depth[child], depth[n]+1)
		}
	}
	name := func(n *resource.Node) string { return n.Key().String() }
	if len(nodes) > mostBoxes {
		name = func(n *resource.Node) string { return n.Type }
	}
	// Groups of nodes with a common box, in the order of the graph.
	var order []string
	groups, column := map[string][]*resource.Node{}, map[string]int{}
	for _, n := range nodes {
		of := name(n)
		if groups[of] == nil {
			order = append(order, of)
		}
		groups[of] = append(groups[of], n)
		column[of] = max(column[of], depth[n])
	}
	d := &drawing{}
	at, rows := map[string]int{}, map[int]int{}
	for _, of := range order {
		c := column[of]
		b := box{X: c * (boxWidth + columnGap), Y: rows[c] * (boxHeight + rowGap)}
		rows[c]++
		if len(nodes) > mostBoxes {
			b.summarize(groups[of], known)
		} else {
			b.describe(groups[of][0], known[groups[of][0].Key()], trusted)
		}
		at[of] = len(d.Boxes)
		d.Boxes = append(d.Boxes, b)
		d.Width, d.Height = max(d.Width, b.X+boxWidth), max(d.Height, b.Y+boxHeight)
	}
	drawn := map[[2]string]bool{}
	for _, n := range nodes {
		for _, child := range n.Children {
			link := [2]string{name(n), name(child)}
			if from, to := d.Boxes[at[link[0]]], d.Boxes[at[link[1]]]; link[0] != link[1] && !drawn[link] {
				drawn[link] = true
				d.Edges = append(d.Edges, edge{from.X + boxWidth, from.Y + boxHeight/2, to.X, to.Y + boxHeight/2})
			}
		}
	}
	return d
}

// short returns a type without its service: OS::Cinder::Volume becomes Volume.
func short(resourceType string) string {
	return printable.Line(resourceType[strings.LastIndex(resourceType, ":")+1:])
}

// describe fills the box of one resource. r is nil if nothing is known about its progress.
func (b *box) describe(n *resource.Node, r *progress.Resource, trusted bool) {
	b.Title, b.State, b.Tip = short(n.Type), string(progress.Waiting), printable.Line(n.Type)
	if trusted {
		b.Title += " " + printable.Line(cmp.Or(n.Name, n.ID))
		b.Tip += " " + printable.Line(n.ID)
	}
	if r == nil {
		b.Subtitle = b.State
		return
	}
	b.State = stateOf(r)
	b.Subtitle = b.State
	if r.Hook != "" && b.State != "done" {
		b.Subtitle = printable.Line(r.Hook) + " " + string(r.State)
	}
	if r.State == progress.Running && r.Percent > 0 {
		b.Subtitle += fmt.Sprintf(" %d %%", r.Percent)
	}
	if r.Error != "" && trusted {
		b.Tip += ": " + printable.Line(r.Error)
	}
	for i, hook := range r.Hooks {
		state := string(progress.Waiting)
		switch {
		case slices.Contains(r.Done, hook):
			state = "done"
		case hook == r.Hook:
			state = b.State
		}
		from, to := barsWidth*i/len(r.Hooks), barsWidth*(i+1)/len(r.Hooks)
		b.Bars = append(b.Bars, bar{barsFrom + from, max(to-from-3, 1), state})
	}
}

// summarize fills the box of all resources of a type.
func (b *box) summarize(nodes []*resource.Node, known map[resource.Key]*progress.Resource) {
	count := map[string]int{}
	for _, n := range nodes {
		state := string(progress.Waiting)
		if r := known[n.Key()]; r != nil {
			state = stateOf(r)
		}
		count[state]++
	}
	b.Title, b.State = fmt.Sprintf("%d × %s", len(nodes), short(nodes[0].Type)), "done"
	var parts []string
	from := 0
	for _, state := range []string{"done", "running", "failed", "waiting"} {
		n := count[state]
		if n == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, state))
		width := max(barsWidth*n/len(nodes), 2)
		b.Bars = append(b.Bars, bar{barsFrom + from, width, state})
		from += width
	}
	for _, state := range []string{"waiting", "running", "failed"} { // the last state that occurs wins
		if count[state] > 0 {
			b.State = state
		}
	}
	b.Subtitle = strings.Join(parts, ", ")
	b.Tip = printable.Line(nodes[0].Type) + ": " + b.Subtitle
}
