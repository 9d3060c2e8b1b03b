// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
	"unsafe"
)

const (
	keep  = 64 << 10 // bytes of output that are remembered
	tail  = 4 << 10  // bytes of them that an error shows
	chunk = 32 << 10

	pPid    = 1
	wExited = 4
	wNoWait = 0x1000000
)

// child is a process in a session of its own.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it was reaped and after() has run
	code  int           // when it has ended
}

// run starts it. What it has started goes when it has gone, unless alone; after runs then, on a goroutine.
func run(cmd *exec.Cmd, alone bool, after func()) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, failed("can't start "+cmd.Args[0], err)
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	go func() {
		var info [128]byte
		pid := cmd.Process.Pid
		for {
			_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPid, uintptr(pid), uintptr(unsafe.Pointer(&info)),
				wExited|wNoWait, 0, 0)
			if errno != syscall.EINTR {
				break
			}
		}
		if !alone { // before it is reaped: its number is nobody else's so long
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			c.code = -int(status.Signal())
		} else {
			c.code = cmd.ProcessState.ExitCode()
		}
		after()
		close(c.ended)
	}()
	return c, nil
}

func (c *child) tell(number syscall.Signal) { _ = c.cmd.Process.Signal(number) }

// output reads what a program writes, from a pipe that never fills.
type output struct {
	from, to *os.File
	over     chan struct{}
	take     func([]byte)
}

func newOutput(take func([]byte)) (*output, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, failed("pipe", err)
	}
	return &output{from: from, to: to, over: make(chan struct{}), take: take}, nil
}

// begin is when the program has its end of the pipe, or never gets it.
func (o *output) begin() {
	o.to.Close()
	go func() {
		defer close(o.over)
		for buffer := make([]byte, chunk); ; {
			n, err := o.from.Read(buffer)
			if n > 0 {
				o.take(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}()
}

// finish is when the program has ended: someone else may have the pipe still, but what is in it was read then.
func (o *output) finish() {
	_ = o.from.SetReadDeadline(time.Unix(1, 0))
	<-o.over
	if conn, err := o.from.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			for buffer := make([]byte, chunk); ; {
				n, err := syscall.Read(int(fd), buffer)
				if err == syscall.EINTR {
					continue
				}
				if n <= 0 {
					return
				}
				o.take(buffer[:n])
			}
		})
	}
	o.from.Close()
}

// words are the last that a program wrote.
type words struct {
	mu   sync.Mutex
	kept []byte
}

func (w *words) take(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, b...)
	if over := len(w.kept) - keep; over > 0 {
		w.kept = append(w.kept[:0], w.kept[over:]...)
	}
}

func (w *words) text(size int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.kept
	if len(kept) >= size {
		kept = kept[len(kept)-size:]
		for i, b := range kept { // begin with a line
			if b == '\n' {
				kept = kept[i+1:]
				break
			}
		}
	}
	if utf8.Valid(kept) {
		return string(kept)
	}
	return strings.ToValidUTF8(string(kept), "\uFFFD")
}
