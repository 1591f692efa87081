// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

// Failure is what a caller sees of an error that did not come out of a method,
// such as a panic: a KarborException. karbor-api can show no builtin of
// Python's to its users.
func Failure(context.Context, *rpc.Request, error) *rpc.Failure {
	e := fault.KarborException("")
	return &rpc.Failure{Module: e.Module(), Class: e.Class(), Message: e.Message(), Args: e.Args(), Kwargs: e.Kwargs()}
}
