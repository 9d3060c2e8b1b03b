// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"io"
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

// StateOpts are limits of a device's state on its way.
type StateOpts = raw.StateOpts

// SetDeviceStateFD says through what the device's state is to go: the back-end's end of a pipe. Direction: StateSave or
// StateLoad. The result is what the back-end wants to be used instead of the other end, or nil. SaveState and LoadState
// do all that is to be done.
func (m *Master) SetDeviceStateFD(ctx context.Context, direction uint32, end *os.File) (*os.File, error) {
	fd := int32(-1)
	err := withFd(end, func(of int32) error {
		return m.tell(ctx, func(p *raw.Master) error {
			return raw.MasterSetDeviceStateFD(p, direction, StateStopped, of, &fd)
		})
	})
	return fileCame(fd, "state", err), err
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

// PostcopyFault is a page that a back-end waits for.
type PostcopyFault = raw.PostcopyFault

// Postcopy is what PostcopyAdvise gives: where a back-end asks for pages that it touches and that are missing. Its calls
// may come from any goroutine, while another one is in a call of the Master.
type Postcopy struct {
	life life
	p    *raw.Postcopy
}

// PostcopyAdvise is asked for before memory is shared.
func (m *Master) PostcopyAdvise(ctx context.Context) (*Postcopy, error) {
	p, err := ask(ctx, m, func(p *raw.Master, out **raw.Postcopy) error { return raw.MasterPostcopyAdvise(p, out) })
	if err != nil {
		raw.PostcopyFree(p) // it came when nobody waited any more
		return nil, err
	}
	late := &Postcopy{p: p}
	runtime.SetFinalizer(late, forgotten[*Postcopy])
	return late, nil
}

// PostcopyListen says that memory which is shared from now on may have missing pages.
func (m *Master) PostcopyListen(ctx context.Context) error {
	return m.tell(ctx, raw.MasterPostcopyListen)
}

// PostcopyEnd says that all pages are there; what is missing yet the back-end finds as zeroes.
func (m *Master) PostcopyEnd(ctx context.Context) error { return m.tell(ctx, raw.MasterPostcopyEnd) }

// Close frees it. Who waits in the back-end goes on after PostcopyEnd, or when the connection ends.
func (l *Postcopy) Close() error {
	runtime.SetFinalizer(l, nil)
	if l.life.end() {
		raw.PostcopyFree(l.p)
	}
	return nil
}

func (l *Postcopy) use(call func() error) error {
	if err := l.life.enter(); err != nil {
		return err
	}
	defer l.life.leave()
	defer runtime.KeepAlive(l)
	return call()
}

// Wait parks the goroutine until Next has something, or Close comes.
func (l *Postcopy) Wait(ctx context.Context) error {
	var sleep *waiter
	err := l.use(func() error {
		fd, err := raw.PostcopyFD(l.p).Get()
		if err == nil {
			sleep, err = newWaiter(fd)
		}
		if err == nil {
			l.life.watch(sleep)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		l.life.forget(sleep)
		sleep.close()
	}()
	return sleep.wait(ctx, 0)
}

// Next is a page that the back-end waits for; ok is false when it waits for none.
func (l *Postcopy) Next() (fault PostcopyFault, ok bool, err error) {
	err = l.use(func() error {
		n, err := raw.PostcopyNext(l.p, &fault).Get()
		ok = n > 0
		return err
	})
	return fault, ok, err
}

// Place brings whole pages, for all that map the memory. A page that is there already stays as it is.
func (l *Postcopy) Place(gpa GPA, pages []byte) error {
	return l.use(func() error { return raw.PostcopyPlace(l.p, gpa, pages) })
}

// Wake says that whole pages have come through another mapping of the same memory.
func (l *Postcopy) Wake(gpa GPA, length uint64) error {
	return l.use(func() error { return raw.PostcopyWake(l.p, gpa, length) })
}
