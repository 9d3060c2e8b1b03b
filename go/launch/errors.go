// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Kind is what went wrong: errors.Is(err, launch.Died).
type Kind string

// Kinds of failures.
const (
	Died      Kind = "the program ended by itself"
	TimedOut  Kind = "it did not do it in time" // is context.DeadlineExceeded too
	NotFound  Kind = "there is no such back-end, or no such program"
	InUse     Kind = "somebody listens on that path already, or something lies there that is no socket"
	BadOutput Kind = "a program or a file said something that it must not"
)

func (k Kind) Error() string { return string(k) }

// Error is any failure of this package. errors.Is finds its Kind, if it has one, and the errno value.
type Error struct {
	Kind   Kind
	Errno  syscall.Errno
	Text   string // one line
	Output string // the last words of the program
	Code   int    // how it ended: its exit code, -N for signal N
}

func (e *Error) Error() string {
	if words := strings.TrimRight(e.Output, "\n"); words != "" {
		return e.Text + ":\n" + words
	}
	return e.Text
}

// Is says whether it is of that kind.
func (e *Error) Is(target error) bool {
	return e.Kind != "" && (target == error(e.Kind) || e.Kind == TimedOut && target == context.DeadlineExceeded)
}

// Unwrap is the errno value.
func (e *Error) Unwrap() error { return e.Errno }

// Timeout is for those who ask as package net does.
func (e *Error) Timeout() bool { return e.Kind == TimedOut }

func howItEnded(code int) string {
	if code < 0 {
		return fmt.Sprintf("signal %d", -code)
	}
	return fmt.Sprintf("exit code %d", code)
}

func timedOut(output, format string, args ...interface{}) error {
	return &Error{Kind: TimedOut, Errno: syscall.ETIMEDOUT, Text: fmt.Sprintf(format, args...), Output: output}
}

func badOutput(output string, code int, format string, args ...interface{}) error {
	return &Error{Kind: BadOutput, Errno: syscall.EPROTO, Text: fmt.Sprintf(format, args...), Output: output, Code: code}
}

func notFound(format string, args ...interface{}) error {
	return &Error{Kind: NotFound, Errno: syscall.ENOENT, Text: fmt.Sprintf(format, args...)}
}

// failed is an error of a system call, with what it was about.
func failed(what string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "executable file not found") {
			return err
		}
		errno = syscall.ENOENT
	}
	e = &Error{Errno: errno, Text: what + ": " + errno.Error()}
	if errno == syscall.ENOENT || errno == syscall.ENOTDIR {
		e.Kind = NotFound
	}
	return e
}
