// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"syscall"

	"github.com/libvh/libvh/go/internal/raw"
)

// Drivable is what a Driver can drive: a *Master, a *Kern.
type Drivable interface{ drives() *Backend }

// Backend is a device to drive, whatever it is reached through. Calls may come from several goroutines, one at a time is let in.
type Backend struct {
	*handle
	sessions  *sessions
	of        func(out **raw.Backend) error
	interrupt func() // ends a call that waits; nil: none does for long
}

func newBackend(c *caught) *Backend { return &Backend{handle: newHandle(c), sessions: &sessions{}} }

// Kind is what is behind it: "vhost-user" for a Master, "vhost-kernel" for a Kern.
func (b *Backend) Kind() (kind string, err error) {
	err = b.do(func() error {
		return b.with(func(p *raw.Backend) error {
			kind = raw.BackendKind(p)
			return nil
		})
	})
	return kind, err
}

// DeviceFeatures are what the device offers, without what only the transport has.
func (b *Backend) DeviceFeatures(ctx context.Context) (features uint64, err error) {
	err = b.wait(ctx, func() error {
		return b.with(func(p *raw.Backend) error { return raw.BackendGetFeatures(p, &features) })
	})
	return features, err
}

// DeviceConfig reads config space into buf.
func (b *Backend) DeviceConfig(ctx context.Context, offset uint32, buf []byte) error {
	return b.wait(ctx, func() error {
		return b.with(func(p *raw.Backend) error { return raw.BackendGetConfig(p, offset, buf) })
	})
}

// SetDeviceConfig writes config space.
func (b *Backend) SetDeviceConfig(ctx context.Context, offset uint32, buf []byte) error {
	return b.wait(ctx, func() error {
		return b.with(func(p *raw.Backend) error { return raw.BackendSetConfig(p, offset, buf) })
	})
}

func (b *Backend) with(call func(*raw.Backend) error) error {
	var p *raw.Backend
	if err := b.of(&p); err != nil {
		return err
	}
	return call(p)
}

// wait is a call that waits for the back-end.
func (b *Backend) wait(ctx context.Context, call func() error) error {
	if err := b.enter(ctx); err != nil {
		return err
	}
	defer b.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := func() bool { return false }
	if b.interrupt != nil {
		stop = onDone(ctx, b.interrupt)
	}
	err := b.told(throughSignals(call))
	if stop() {
		return because(ctx, err)
	}
	return err
}

// throughSignals is for what waits besides the connection: there a signal ends the wait, and nothing was lost.
func throughSignals(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
