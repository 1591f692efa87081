// SPDX-License-Identifier: Apache-2.0

// Package remark tells the users of a restore that succeeded what is not as it was
// all the same: an address that was taken meanwhile, a key pair that is gone. The
// remarks become the resource's reason beside its status "available".
package remark

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// List collects remarks, each once. The zero value is empty. It is safe for
// concurrent use.
type List struct {
	mu    sync.Mutex
	texts []string
}

// Add notes a remark.
func (l *List) Add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if at, there := slices.BinarySearch(l.texts, text); !there {
		l.texts = slices.Insert(l.texts, at, text)
	}
}

// Texts returns the remarks in order, for a State.
func (l *List) Texts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.texts)
}

// Restore returns the hook of a Restore whose restore adds remarks.
func Restore(
	frame hook.Frame, restore func(context.Context, *protection.Call, *List) (string, error), undo protection.Hook,
) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		remarks := &List{}
		remarked := *c
		remarked.Status = &Recorder{Next: c.Status, Remarks: remarks}
		return frame.Restore(func(ctx context.Context, c *protection.Call) (string, error) {
			return restore(ctx, c, remarks)
		}, undo)(ctx, &remarked)
	}
}

// Recorder records statuses as another recorder does, which may be nil, and gives
// "available" the remarks as its reason.
type Recorder struct {
	Next    protection.StatusRecorder
	Remarks *List
}

var _ protection.StatusRecorder = (*Recorder)(nil)

// Update implements protection.StatusRecorder.
func (r *Recorder) Update(ctx context.Context, resourceType, id, status, reason string) error {
	if r.Next == nil {
		return nil
	}
	if status == protection.StatusAvailable && reason == "" {
		reason = strings.Join(r.Remarks.Texts(), "; ")
	}
	return r.Next.Update(ctx, resourceType, id, status, reason)
}
