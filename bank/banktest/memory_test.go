// SPDX-License-Identifier: Apache-2.0

package banktest_test

import (
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	banktest.Run(t, func(*testing.T) bank.Plugin { return banktest.NewMemory() })
}
