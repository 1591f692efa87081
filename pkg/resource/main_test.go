// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
