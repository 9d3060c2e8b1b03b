// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"

	"github.com/libvh/libvh/go/internal/raw"
)

// SetReconnect has a back-end that goes away come back, and tells it all that the session had told before; nil: never.
// Calls that wait for it do so, and Serve.
func (d *Driver) SetReconnect(policy *Reconnect) error {
	return d.do(func() error { return raw.DriverSetReconnect(d.s.p, policy) })
}

// Serve dispatches until ctx is done, Close comes, or the back-end is gone for good.
func (d *Driver) Serve(ctx context.Context) error {
	for {
		more, err := d.Dispatch()
		if err == nil && !more {
			err = d.Wait(ctx)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// Wait parks the goroutine until Dispatch has something to do.
func (d *Driver) Wait(ctx context.Context) error { return d.s.sleep.wait(ctx, 0) }

// Dispatch serves the back-end's connection and brings it back; it never blocks. More: there is more to do at once.
func (d *Driver) Dispatch() (more bool, err error) {
	err = d.do(func() error {
		n, err := raw.DriverDispatch(d.s.p).Get()
		more = n > 0
		return err
	})
	return more, err
}

// NextEvent takes the oldest pending event; ok is false when there is none.
func (d *Driver) NextEvent() (event Event, ok bool, err error) {
	err = d.do(func() error {
		n, err := raw.DriverNextEvent(d.s.p, &event).Get()
		ok = n > 0
		return err
	})
	return event, ok, err
}

// SetRing says where a ring is that somebody else drives, for the next start; nil: there is none any more. The eventfds are
// duplicated, and may be nil.
func (d *Driver) SetRing(index int, ring *DriverRing, kick, call *os.File) error {
	return withFds([]*os.File{kick, call}, func(fds []int32) error {
		return d.do(func() error { return raw.DriverSetRing(d.s.p, u32(index), ring, fds[0], fds[1]) })
	})
}

// Ring says where a ring is, and where it goes on.
func (d *Driver) Ring(index int) (ring DriverRing, err error) {
	err = d.do(func() error { return raw.DriverGetRing(d.s.p, u32(index), &ring) })
	return ring, err
}

// Enable has the device take from a queue, or not; it counts for each start to come.
func (d *Driver) Enable(ctx context.Context, index int, on bool) error {
	var number uint32
	if on {
		number = 1
	}
	return d.wait(ctx, func() error { return raw.DriverEnable(d.s.p, u32(index), number) })
}

// ResetQueue has one queue begin anew while the others run on; what was in flight does not come back. A ring that somebody
// else drives stays stopped until SetRing.
func (d *Driver) ResetQueue(ctx context.Context, index int) error {
	return d.wait(ctx, func() error { return raw.DriverResetQueue(d.s.p, u32(index)) })
}

// Share tells the back-end that memory of the caller's has changed.
func (d *Driver) Share(ctx context.Context) error {
	return d.wait(ctx, func() error { return raw.DriverShare(d.s.p) })
}
