// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
)

const large = 100_000

// number makes shapes of large graphs without holding their edges.
func number(children func(i int) []int) resource.Children {
	return func(_ context.Context, r resource.Resource) ([]resource.Resource, error) {
		i, err := strconv.Atoi(r.ID)
		if err != nil {
			return nil, err
		}
		var rs []resource.Resource
		for _, c := range children(i) {
			rs = append(rs, resource.Resource{Type: "T", ID: strconv.Itoa(c)})
		}
		return rs, nil
	}
}

var shapes = []struct {
	name     string
	children func(i int) []int
}{
	{"wide", func(i int) []int {
		if i > 0 {
			return nil
		}
		all := make([]int, large-1)
		for j := range all {
			all[j] = j + 1
		}
		return all
	}},
	{"deep", func(i int) []int {
		if i == large-1 {
			return nil
		}
		return []int{i + 1}
	}},
	{"diamonds", func(i int) []int { // 0 -> 1, 2 -> 3 -> 4, 5 -> 6 ...: without memory the paths are 2^33333
		switch {
		case i >= large-3:
			return nil
		case i%3 == 0:
			return []int{i + 1, i + 2}
		default:
			return []int{i - i%3 + 3}
		}
	}},
}

func TestLargeGraphs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("graphs of 100,000 resources take long under the race detector")
	}
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			t.Parallel()
			text := roundTrip(t, shape.children)
			if again := roundTripText(t, text); again != text {
				t.Error("the packed text changed")
			}
		})
	}
}

func roundTrip(tb testing.TB, children func(i int) []int) string {
	tb.Helper()
	g, err := resource.Build(context.Background(), []resource.Resource{{Type: "T", ID: "0"}}, number(children), 8)
	if err != nil {
		tb.Fatal(err)
	}
	if g.Len() < large-3 || len(g.Roots) != 1 {
		tb.Fatalf("%d nodes, %d roots", g.Len(), len(g.Roots))
	}
	text, err := resource.Pack(g)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func roundTripText(tb testing.TB, text string) string {
	tb.Helper()
	g, err := resource.Unpack(text)
	if err != nil {
		tb.Fatal(err)
	}
	again, err := resource.Pack(g)
	if err != nil {
		tb.Fatal(err)
	}
	return again
}

func BenchmarkBuildAndPack(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				roundTrip(b, shape.children)
			}
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	for _, shape := range shapes {
		text := roundTrip(b, shape.children)
		b.Run(shape.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resource.Unpack(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
