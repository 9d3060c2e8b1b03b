// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	// NameMax is how many bytes the path in a socket's address has at most. Paths given to this package may be longer.
	NameMax = 107
	// DefaultTimeout is for contexts without a deadline.
	DefaultTimeout = 10 * time.Second

	lookEvery = 10 * time.Millisecond
	oPath     = 0x200000
	backlog   = 1
	accepts   = 0x10000 // in /proc/net/unix: __SO_ACCEPTCON

	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	dumpRequest      = 0x301
	tcpListen        = 10
	diagName         = 0
	diagFile         = 1
)

var native = func() binary.ByteOrder {
	one := uint16(1)
	if *(*byte)(unsafe.Pointer(&one)) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// throughFolder opens the folder of a path that is too long for an address, nil when it is not.
func throughFolder(path string) (*os.File, error) {
	if len(path) <= NameMax || strings.HasPrefix(path, "@") {
		return nil, nil
	}
	fd, err := syscall.Open(filepath.Dir(path), oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed(path, err)
	}
	return os.NewFile(uintptr(fd), filepath.Dir(path)), nil
}

// through is what the file is called by who has its folder as that fd.
func through(fd int, name string) (string, error) {
	found := fmt.Sprintf("/proc/self/fd/%d/%s", fd, name)
	if len(found) > NameMax {
		return "", &Error{Errno: syscall.ENAMETOOLONG, Text: fmt.Sprintf(
			"the file name %s is too long for a socket; %d bytes are not", name, NameMax-24)}
	}
	return found, nil
}

// address gives do what the file at path is called in a socket's address.
func address(path string, do func(name string) error) error {
	folder, err := throughFolder(path)
	if err != nil {
		return err
	}
	if folder == nil {
		return do(path)
	}
	defer folder.Close()
	name, err := through(int(folder.Fd()), filepath.Base(path))
	if err != nil {
		return err
	}
	return do(name)
}

// Connect makes a connection to whoever listens there.
func Connect(ctx context.Context, path string) (conn *net.UnixConn, err error) {
	err = address(path, func(name string) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", name)
		if err == nil {
			conn = c.(*net.UnixConn)
		}
		return err
	})
	return conn, err
}

var listenOn = syscall.Listen // tests have it fail

// Listen makes a socket that listens there; net.FileListener makes a listener of it. A socket that nobody listens on any more is
// replaced; InUse when there is anything else.
func Listen(path string, mode os.FileMode) (*os.File, error) {
	file := !strings.HasPrefix(path, "@") // syscall's addresses know abstract names
	if file {
		if err := makeRoom(path); err != nil {
			return nil, err
		}
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, failed("socket", err)
	}
	err = address(path, func(name string) error { return syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}) })
	made := file && err == nil
	if made {
		err = os.Chmod(path, mode) // before anybody can connect
	}
	if err == nil {
		err = listenOn(fd, backlog)
	}
	if err != nil {
		if made {
			os.Remove(path)
		}
		syscall.Close(fd)
		return nil, failed(path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeRoom removes a socket that nobody listens on any more.
func makeRoom(path string) error {
	there, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	switch {
	case err != nil:
		return failed(path, err)
	case there.Mode()&os.ModeSocket == 0:
		return &Error{Kind: InUse, Errno: syscall.EEXIST, Text: path + " is no socket, so it is left alone"}
	case Listening(path):
		return &Error{Kind: InUse, Errno: syscall.EADDRINUSE, Text: "somebody listens on " + path}
	case answers(path):
		return &Error{Kind: InUse, Errno: syscall.EADDRINUSE,
			Text: "somebody has the socket " + path + ": in another network namespace, or one of another type"}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return failed(path, err)
	}
	return nil
}

// answers says whether it is anybody's. The diagnostics know one network namespace, and who listens; before a file is removed, it is
// asked itself.
func answers(path string) bool {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer syscall.Close(fd)
	err = address(path, func(name string) error { return syscall.Connect(fd, &syscall.SockaddrUnix{Name: name}) })
	// Others: its backlog is full, it is of another type, or not ours.
	return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT)
}

// Listening says whether somebody listens on the socket at path, or on the abstract name "@NAME", in this network namespace.
// Nothing is connected to.
func Listening(path string) bool { return listening(path, 0) }

// listening looks into the network namespace of a process, if that is another one; there it knows sockets by their names only.
func listening(path string, pid int) bool {
	if pid != 0 {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		ours, _ := os.Readlink("/proc/self/ns/net")
		if err == nil && theirs != ours {
			return named(path, fmt.Sprintf("/proc/%d/net/unix", pid))
		}
	}
	found, err := diagnosed(path)
	if err != nil { // a kernel without unix_diag, or a filter of system calls
		return named(path, "/proc/net/unix")
	}
	return found
}

// diagnosed asks the socket diagnostics. A variable, for the tests.
var diagnosed = func(path string) (bool, error) {
	var there *syscall.Stat_t
	if !strings.HasPrefix(path, "@") {
		there = new(syscall.Stat_t)
		if syscall.Stat(path, there) != nil {
			return false, nil
		}
	}
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return false, err
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 2}); err != nil {
		return false, err
	}
	ask := make([]byte, 40)
	native.PutUint32(ask, 40)
	native.PutUint16(ask[4:], sockDiagByFamily)
	native.PutUint16(ask[6:], dumpRequest)
	native.PutUint32(ask[8:], 1)
	ask[16] = syscall.AF_UNIX
	native.PutUint32(ask[20:], 1<<tcpListen)
	native.PutUint32(ask[28:], 1<<diagName|1<<diagFile)
	native.PutUint64(ask[32:], ^uint64(0))
	if err := syscall.Sendto(fd, ask, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return false, err
	}
	return answered(fd, path, there)
}

func answered(fd int, path string, there *syscall.Stat_t) (found bool, err error) {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return false, err
		}
		for data := buffer[:n]; len(data) >= 16; {
			size := int(native.Uint32(data))
			kind := native.Uint16(data[4:])
			switch {
			case kind == syscall.NLMSG_ERROR && len(data) >= 20:
				return false, syscall.Errno(-int32(native.Uint32(data[16:])))
			case kind == syscall.NLMSG_DONE || size < 16:
				return found, nil
			case size > len(data):
				return false, syscall.EPROTO
			}
			found = found || size >= 32 && isIt(data[32:size], path, there)
			if size = (size + 3) &^ 3; size > len(data) {
				size = len(data)
			}
			data = data[size:]
		}
	}
}

func isIt(attributes []byte, path string, there *syscall.Stat_t) bool {
	var name, file []byte
	for len(attributes) >= 4 {
		size, kind := int(native.Uint16(attributes)), native.Uint16(attributes[2:])
		if size < 4 || size > len(attributes) {
			break
		}
		if kind == diagName {
			name = attributes[4:size]
		} else if kind == diagFile && size >= 12 {
			file = attributes[4:size]
		}
		if size = (size + 3) &^ 3; size > len(attributes) {
			size = len(attributes)
		}
		attributes = attributes[size:]
	}
	if there == nil {
		return bytes.Equal(name, append([]byte{0}, path[1:]...))
	}
	if file == nil || native.Uint32(file) != uint32(there.Ino) {
		return false
	}
	// File systems that are made of others show a number of a device that is not the kernel's own.
	dev := uint64(there.Dev)
	major, minor := uint32(dev>>8&0xfff|dev>>32&^0xfff), uint32(dev&0xff|dev>>12&^0xff)
	return native.Uint32(file[4:]) == major<<20|minor ||
		filepath.Base(string(bytes.TrimRight(name, "\x00"))) == filepath.Base(path)
}

func named(path, table string) bool {
	f, err := os.Open(table)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.SplitN(lines.Text(), " ", 8)
		if len(fields) == 8 && fields[7] == path {
			if flags, err := strconv.ParseUint(fields[3], 16, 32); err == nil && flags&accepts != 0 {
				return true
			}
		}
	}
	return false
}

func whatIsThere(path string) string {
	there, err := os.Stat(path)
	switch {
	case err != nil:
		return failed(path, err).Error()
	case there.Mode()&os.ModeSocket == 0:
		return path + " is no socket"
	}
	return "there is a socket, but nobody of this network namespace listens on it: left over, or not ready yet"
}

// WaitListening waits until somebody listens there, without connecting.
func WaitListening(ctx context.Context, path string) error {
	_, err := waitListening(ctx, path, 0, nil)
	return err
}

// waitListening is false as soon as ended is closed.
func waitListening(ctx context.Context, path string, pid int, ended <-chan struct{}) (bool, error) {
	ctx, allowed, cancel := withDeadline(ctx, DefaultTimeout)
	defer cancel()
	for look := time.NewTimer(lookEvery); ; look.Reset(lookEvery) {
		if listening(path, pid) {
			look.Stop()
			return true, nil
		}
		select {
		case <-look.C:
			continue
		case <-ended:
		case <-ctx.Done():
			look.Stop()
			if ctx.Err() == context.Canceled {
				return false, ctx.Err()
			}
			return false, timedOut("", "nobody listens on %s after %s s: %s", path, seconds(allowed), whatIsThere(path))
		}
		look.Stop()
		return false, nil
	}
}

// seconds are those that there were, as a number to read.
func seconds(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	return strconv.FormatFloat(d.Round(10*time.Millisecond).Seconds(), 'f', -1, 64)
}

// withDeadline gives a context that has one, and how long that is.
func withDeadline(ctx context.Context, otherwise time.Duration) (context.Context, time.Duration, context.CancelFunc) {
	if end, has := ctx.Deadline(); has {
		return ctx, time.Until(end), func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, otherwise)
	return ctx, otherwise, cancel
}
