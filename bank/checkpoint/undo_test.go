// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

// noLease is a store that gives no leases.
type noLease struct{ bank.LeaseStore }

func (noLease) Acquire(context.Context, string, time.Duration) error {
	return errors.New("the store of leases is away")
}

// What keeps all objects of a checkpoint from being removed is said once.
func TestReasonIsSaidOnce(t *testing.T) {
	t.Parallel()
	lease := bank.NewLease(noLease{}, "owner", bank.DefaultLeaseWindows(), bank.Clock{}, nil)
	defer lease.Close()
	log, lines := test.NewNullLogger()
	checkpoints := checkpoint.NewCollection(bank.New(banktest.NewMemory(), lease), "provider", checkpoint.Options{Log: log})
	if _, err := checkpoints.Create(t.Context(), checkpoint.CreateOptions{Plan: plan}); err == nil {
		t.Fatal("it was created")
	}
	text := ""
	for _, entry := range lines.AllEntries() {
		err, _ := entry.Data[logrus.ErrorKey].(error)
		text += entry.Message + " " + err.Error()
	}
	if strings.Count(text, "is away") != 1 {
		t.Errorf("the log says %q", text)
	}
}
