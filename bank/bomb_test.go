// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

// endless is a bank whose objects somebody has made of a terabyte each.
type endless struct{ *banktest.Memory }

func (endless) Get(context.Context, string) (*bank.Object, error) {
	return &bank.Object{Body: io.NopCloser(io.LimitReader(blanks{}, 1<<40))}, nil
}

type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// What is held in memory has a bound, and its error names the object.
func TestDocumentsHaveABound(t *testing.T) {
	t.Parallel()
	s := section(t, endless{banktest.NewMemory()}, "/s")
	err := s.GetJSON(t.Context(), "index.json", new(any))
	if !errors.Is(err, bank.ErrUnusable) || !strings.Contains(err.Error(), "/s/index.json") || !strings.Contains(err.Error(), "more than 134217728 bytes") {
		t.Errorf("got %v", err)
	}
}
