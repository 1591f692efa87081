// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/test/load"
)

// call is a client under way from the start. "pause" and "run" hold and resume
// it, "stats" asks for the state of the process.
func call(s settings, transport *rabbit.Transport) error {
	limitGarbage()
	client := rpc.NewClient(transport, rpc.Target{Topic: s.topic}, rpc.ClientOptions{Timeout: s.timeout})
	out := newOutput(os.Stdout)
	every := time.Duration(float64(s.callers) / s.rate * float64(time.Second))
	callers := make([]*load.Caller, s.callers)
	for i := range callers {
		callers[i] = &load.Caller{
			Client: client, Methods: []string{"read", "start"}, Prefix: s.name + strconv.Itoa(i) + "-", Every: every,
			Report: func(c load.Call) { out.write(c) },
		}
	}
	var running sync.WaitGroup
	var halt context.CancelFunc
	resume := func() {
		var ctx context.Context
		ctx, halt = context.WithCancel(context.Background())
		for i, c := range callers {
			running.Go(func() {
				// Not all in the same moment.
				timer := time.NewTimer(every * time.Duration(i) / time.Duration(len(callers)))
				defer timer.Stop()
				select {
				case <-timer.C:
					c.Run(ctx)
				case <-ctx.Done():
				}
			})
		}
	}
	pause := func() {
		halt()
		running.Wait()
		sent := make([]int, len(callers))
		for i, c := range callers {
			sent[i] = c.Sent()
		}
		out.write(load.State{State: "idle", Sent: sent})
	}
	resume()
	words(func(word string) {
		switch word {
		case "run":
			resume()
		case "pause":
			pause()
		case "stats":
			out.stats()
		}
	})
	pause()
	return nil
}
