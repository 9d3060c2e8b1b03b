// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"io"
	"os"

	"github.com/libvh/libvh/go/internal/raw"
)

// StateOpts are limits of a device's state on its way.
type StateOpts = raw.StateOpts

// SetDeviceStateFD says through what the device's state is to go: the back-end's end of a pipe. Direction: StateSave or
// StateLoad. The result is what the back-end wants to be used instead of the other end, or nil. SaveState and LoadState
// do all that is to be done.
func (m *Master) SetDeviceStateFD(ctx context.Context, direction uint32, end *os.File) (*os.File, error) {
	var fd int32
	err := withFd(end, func(of int32) error {
		return m.tell(ctx, func(p *raw.Master) error {
			return raw.MasterSetDeviceStateFD(p, direction, StateStopped, of, &fd)
		})
	})
	if err != nil || fd < 0 {
		return nil, err
	}
	return fileOf(fd, "state"), nil
}

// CheckDeviceState tells whether the back-end could send, or understand, all of its state.
func (m *Master) CheckDeviceState(ctx context.Context) error {
	return m.tell(ctx, raw.MasterCheckDeviceState)
}

// SaveState takes the device's state, while no ring runs, and tells how many bytes it was. Nil options are the defaults.
func (m *Master) SaveState(ctx context.Context, opts *StateOpts, to io.Writer) (n uint64, err error) {
	if file, ok := to.(*os.File); ok {
		return m.moveState(ctx, raw.MasterSaveState, opts, file)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, r)
		r.Close()
		copied <- err
	}()
	n, err = m.moveState(ctx, raw.MasterSaveState, opts, w)
	w.Close()
	if failed := <-copied; failed != nil {
		err = failed
	}
	return n, err
}

// LoadState gives the device the state that another one had, to the end of what can be read.
func (m *Master) LoadState(ctx context.Context, opts *StateOpts, from io.Reader) (n uint64, err error) {
	if file, ok := from.(*os.File); ok {
		return m.moveState(ctx, raw.MasterLoadState, opts, file)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, from)
		w.Close()
		copied <- err
	}()
	n, err = m.moveState(ctx, raw.MasterLoadState, opts, r)
	r.Close() // ends a copy that is not wanted any more; one that still waits for its reader is not waited for
	if err == nil {
		err = <-copied
	}
	return n, err
}

func (m *Master) moveState(ctx context.Context, call func(*raw.Master, *StateOpts, int32, *uint64) error,
	opts *StateOpts, file *os.File) (n uint64, err error) {
	err = withFd(file, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return call(p, opts, fd, &n) })
	})
	return n, err
}
