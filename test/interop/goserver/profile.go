// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"os"
	"runtime/pprof"
)

// profile writes pprof files of the whole run.
type profile struct {
	cpu, allocs string
	file        *os.File
}

func (p *profile) flags() {
	flag.StringVar(&p.cpu, "cpuprofile", "", "write a CPU profile to this file")
	flag.StringVar(&p.allocs, "allocprofile", "", "write a profile of allocations to this file")
}

func (p *profile) start() (err error) {
	if p.cpu == "" {
		return nil
	}
	if p.file, err = os.Create(p.cpu); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.file)
}

func (p *profile) stop() error {
	var err error
	if p.file != nil {
		pprof.StopCPUProfile()
		err = p.file.Close()
	}
	if p.allocs == "" {
		return err
	}
	f, openErr := os.Create(p.allocs)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	return errors.Join(err, pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
