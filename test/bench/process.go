// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopTime is how long a process may take to end after it was asked to.
const stopTime = 30 * time.Second

// process is a server under measurement.
type process struct {
	name   string
	cmd    *exec.Cmd
	input  io.Closer // its standard input, with which the small servers end
	output bytes.Buffer
	ended  chan struct{} // closed when it has ended
	err    error         // how it ended
	// terminate tells that it wants a SIGTERM to end.
	terminate bool
}

// start executes a program. It does not wait for it to serve.
func start(name string, command ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.input = input
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process as an operator does. A process that has ended before,
// does not end, or ends with another code than 0 is an error.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended before its time: %v\n%s", p.name, p.err, p.output.String())
	default:
	}
	_ = p.input.Close()
	if p.terminate {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %s", p.name, stopTime)
	}
	if p.err != nil {
		return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.output.String())
	}
	return nil
}

// kill ends the process as a crash does. One that has ended before is an error.
func (p *process) kill() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended before its time: %v\n%s", p.name, p.err, p.output.String())
	default:
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	return nil
}

// cpu returns the CPU time that the process has used, in user and kernel mode and
// by threads that are gone too. /proc/PID/stat has the same in steps of 10 ms.
func (p *process) cpu() (time.Duration, error) {
	var used unix.Timespec
	if err := unix.ClockGettime(cpuClock(p.cmd.Process.Pid), &used); err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	return time.Duration(used.Nano()), nil
}

// cpuClock is the clock of a process, as clock_getcpuclockid(3) makes it.
// linux: include/linux/posix-timers_types.h, CPUCLOCK_SCHED
func cpuClock(pid int) int32 { return int32(^pid)<<3 | 2 }

// memory returns a figure of /proc/PID/status in MiB: VmRSS is what the process
// has now, VmHWM the most that it ever had.
func (p *process) memory(name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	return memoryOf(string(text), name)
}

func memoryOf(status, name string) (float64, error) {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/status: %w", err)
		}
		return kib / 1024, nil
	}
	return 0, fmt.Errorf("/proc/PID/status has no %s", name)
}
