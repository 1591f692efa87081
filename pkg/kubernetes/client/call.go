// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// retries is how often an API server is asked again that answers "later". It has
// done nothing then.
const retries = 4

// call makes the request that describe describes, and reads the answer by read.
func (c *Client) call(ctx context.Context, method string, describe func(*rest.Request) *rest.Request, read func(rest.Result) error) error {
	connected, err := c.connected()
	if err != nil {
		return err
	}
	request := describe(connected.Verb(method)).MaxRetries(retries)
	if err := request.Error(); err != nil {
		return err
	}
	// The library's own log of calls has another form than ours, and says less than errors do.
	ctx = klog.NewContext(ctx, logr.Discard())
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return failure(err, method, request.URL().Path)
	}
	if err := read(result); err != nil {
		return fmt.Errorf("%s %s: %w", strings.ToLower(method), request.URL().Path, err)
	}
	return nil
}

// failure makes what the API server answered an error of ours. The others, of the
// connection, name what was called by themselves.
func failure(err error, method, path string) error {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return err
	}
	status := answered.Status()
	return fmt.Errorf("%s %s: %w", strings.ToLower(method), path, &kubernetes.StatusError{
		Code: int(status.Code), Reason: string(status.Reason), Message: status.Message,
	})
}
