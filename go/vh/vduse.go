// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	VduseOpts = raw.VduseOpts
	VduseInfo = raw.VduseInfo
)

// Vduse is a device that the kernel has, and this process is: /dev/vduse/NAME. When a vDPA device of that name is added (from
// another goroutine or process, because that waits for answers of this one), the kernel's own drivers use it, or whoever opens
// /dev/vhost-vdpa-N.
type Vduse struct {
	*handle
	p     *raw.Vduse
	dev   *Device
	sleep *waiter
}

// NewVduse gives a device to the kernel, or goes on with one that it has. Records is a file in which it is recorded what is in
// flight, for who takes the device up after a crash; nil: none. Nil options are the defaults.
func NewVduse(name string, dev *Device, records *os.File, opts *VduseOpts) (*Vduse, error) {
	if dev == nil {
		return nil, missing("device")
	}
	if err := plain(name); err != nil {
		return nil, err
	}
	v := &Vduse{handle: newHandle(dev.caught), dev: dev}
	err := dev.attach(v.handle, func() error {
		return withFd(records, func(fd int32) (err error) {
			v.p, err = made(func(out **raw.Vduse) error { return raw.VduseNew(opts, name, dev.p, fd, out) })
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	fd, err := raw.VduseFD(v.p).Get()
	if err == nil {
		v.sleep, err = newWaiter(fd)
	}
	if err != nil {
		raw.VduseFree(v.p)
		return nil, err
	}
	runtime.SetFinalizer(v, forgotten[*Vduse])
	return v, nil
}

// VduseRemove makes the kernel forget a device that nobody has open, and whose vDPA device was deleted.
func VduseRemove(name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return raw.VduseRemove(name)
}

// Close lets go of it. The kernel keeps it until somebody takes it up, or VduseRemove. Serve returns os.ErrClosed.
func (v *Vduse) Close() error {
	runtime.SetFinalizer(v, nil)
	v.sleep.close()
	return v.shut(nil, func() { raw.VduseFree(v.p) })
}

// Serve dispatches until ctx is done, Close or Stop comes, or a callback of the device returns an error.
// It installs the memory guard, as Slave.Serve.
func (v *Vduse) Serve(ctx context.Context) error {
	_ = InstallMemoryGuard()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := v.Dispatch()
		if err == nil && !more {
			err = pause(ctx, v.sleep, 0)
		}
		if err != nil {
			return err
		}
	}
}

// Wait parks the goroutine until Dispatch has something to do.
func (v *Vduse) Wait(ctx context.Context) error { return v.sleep.wait(ctx, 0) }

// Dispatch does what is to be done and never blocks. More: there is more to do at once.
func (v *Vduse) Dispatch() (more bool, err error) {
	err = v.do(func() error {
		n, err := raw.VduseDispatch(v.p).Get()
		more = n > 0
		if said := v.caught.takeErr(); said != nil {
			return said
		}
		return err
	})
	return more, err
}

// NextEvent takes the oldest pending event; ok is false when there is none.
func (v *Vduse) NextEvent() (event Event, ok bool, err error) {
	err = v.do(func() error {
		n, err := raw.VduseNextEvent(v.p, &event).Get()
		ok = n > 0
		return err
	})
	return event, ok, err
}

// Queue is a queue of the device. It ends with the Vduse.
func (v *Vduse) Queue(index int) (*Queue, error) {
	var p *raw.Queue
	if err := v.do(func() error { return raw.VduseQueue(v.p, u32(index), &p) }); err != nil {
		return nil, err
	}
	return borrowed(p, &v.life, v), nil
}

// Info says what it is like now.
func (v *Vduse) Info() (info VduseInfo, err error) {
	err = v.do(func() error { return raw.VduseGetInfo(v.p, &info) })
	return info, err
}

// Stop makes every further call return ESHUTDOWN, also one that waits.
func (v *Vduse) Stop() error {
	defer v.sleep.wake()
	return v.do(func() error { return raw.VduseStop(v.p) })
}

// SetLogger sends log lines to line, nil: nowhere. Level: LogError to LogDebug.
func (v *Vduse) SetLogger(level uint32, line func(level uint32, text string)) error {
	return v.do(func() error { return raw.VduseSetLogger(v.p, logOps(v.caught, level, line)) })
}
