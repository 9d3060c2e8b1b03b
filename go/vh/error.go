// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/libvh/libvh/go/internal/raw"
)

// Error says why a call failed: errors.As(err, &e) for the details, errors.Is(err, syscall.EPROTO) for the errno value.
type Error = raw.Details

// ErrLater is what a Device's callback returns when Device.Finish gives the answer.
var ErrLater error = syscall.EINPROGRESS

// ErrGoexit is the error of every call on a handle in one of whose callbacks the goroutine was ended, by runtime.Goexit
// or by FailNow of a test. The library was left in the middle of a call then, so the handle is never freed.
var ErrGoexit = errors.New("vh: a callback ended its goroutine, the handle can't be used any more")

// Version of the loaded library: major<<16 | minor<<8 | patch.
func Version() uint32 { return raw.Version() }

func init() {
	if said := otherVersion(Version()); said != "" {
		panic(said)
	}
}

// otherVersion is what there is to say of a library of that version, "" for one that fits. Before 1.0 each minor
// version may have other structs; since then the soname says it.
func otherVersion(found uint32) string {
	if VersionMajor != 0 || found>>8 == VersionMajor<<8|VersionMinor {
		return ""
	}
	return fmt.Sprintf("vh: this module is made for libvh %d.%d.%d, and the library that is loaded is %d.%d.%d; until 1.0 these must "+
		"go together", VersionMajor, VersionMinor, VersionPatch, found>>16, found>>8&0xff, found&0xff)
}

// ErrorName is the symbolic name of an errno value, such as "EPROTO".
func ErrorName(errno syscall.Errno) string { return raw.ErrorName(int32(errno)) }

// MessageName is the name of a vhost-user message without VHOST_USER_. The channel is MsgChannelMain or
// MsgChannelBackend.
func MessageName(channel, request uint32) string { return raw.MsgName(channel, request) }

// FeatureName is the name of a feature bit, "" for one that has none here. Space 0: protocol features, else a device type.
func FeatureName(space, bit uint32) string { return raw.FeatureName(space, bit) }

// EventName is the name of a kind of Event.
func EventName(kind uint32) string { return raw.EventName(kind) }

// plain is a string that C can have. A NUL would cut it without a word.
func plain(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("vh: %q has a NUL byte: %w", s, syscall.EINVAL)
	}
	return nil
}

// missing is an argument that is nil.
func missing(what string) error { return fmt.Errorf("vh: there is no %s: %w", what, syscall.EINVAL) }

// u32 is a number as the library takes it. One that is too large becomes the largest, which is refused.
func u32(n int) uint32 {
	if n < 0 || uint64(n) > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(n)
}

// inUse is for the second goroutine where there may be one.
func inUse() error { return fmt.Errorf("vh: another goroutine is here: %w", syscall.EBUSY) }

// fdOf is the descriptor of a file, which the library duplicates; -1 for nil. File.Fd would make it blocking.
func fdOf(f *os.File) (int32, error) {
	if f == nil {
		return -1, nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	number := int32(-1)
	err = conn.Control(func(fd uintptr) { number = int32(fd) })
	return number, err
}

// withFds calls f with the descriptors of files, which stay open meanwhile.
func withFds(files []*os.File, f func(fds []int32) error) error {
	fds := make([]int32, len(files))
	for i := range files {
		var err error
		if fds[i], err = fdOf(files[i]); err != nil {
			return err
		}
	}
	defer runtime.KeepAlive(files)
	return f(fds)
}

func withFd(file *os.File, f func(fd int32) error) error {
	return withFds([]*os.File{file}, func(fds []int32) error { return f(fds[0]) })
}

func fileOf(fd int32, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// fileCame is a file that came with an answer, if one did; of a call that was given up when it was there already, nobody's.
func fileCame(fd int32, name string, err error) *os.File {
	switch {
	case fd < 0:
		return nil
	case err != nil:
		syscall.Close(int(fd))
		return nil
	}
	return fileOf(fd, name)
}

// code is what C gets for an error: its errno value, EIO when it has none.
func code(err error) int32 {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno) && errno != 0:
		return -int32(errno)
	}
	return -int32(syscall.EIO)
}

// ended is the error of a call that was given up because of its context: both it and what the library said.
type ended struct{ why, err error }

func (e *ended) Error() string        { return fmt.Sprintf("%v: %v", e.why, e.err) }
func (e *ended) Is(target error) bool { return errors.Is(e.why, target) }
func (e *ended) Unwrap() error        { return e.err }

func because(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return &ended{ctx.Err(), err}
}

func isClosed(err error) bool { return errors.Is(err, os.ErrClosed) }
