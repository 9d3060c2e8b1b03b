// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"

	"github.com/libvh/libvh/go/internal/raw"
)

// Negotiate features and protocol features; acked is what both sides have. Features are bits: 1 << FRingEventIdx.
func (m *Master) Negotiate(ctx context.Context, features uint64) (acked uint64, err error) {
	err = m.wait(ctx, func() error { return raw.MasterNegotiate(m.p, features, &acked) })
	return acked, err
}

// ask waits for a number.
func ask[T any](ctx context.Context, m *Master, call func(*raw.Master, *T) error) (value T, err error) {
	err = m.wait(ctx, func() error { return call(m.p, &value) })
	return value, err
}

// tell waits for a status.
func (m *Master) tell(ctx context.Context, call func(*raw.Master) error) error {
	return m.wait(ctx, func() error { return call(m.p) })
}

// Features that the back-end offers, as on the wire.
func (m *Master) Features(ctx context.Context) (uint64, error) {
	return ask(ctx, m, raw.MasterGetFeatures)
}

// SetFeatures of the offer.
func (m *Master) SetFeatures(ctx context.Context, features uint64) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetFeatures(p, features) })
}

// ProtocolFeatures that the back-end offers, as on the wire.
func (m *Master) ProtocolFeatures(ctx context.Context) (uint64, error) {
	return ask(ctx, m, raw.MasterGetProtocolFeatures)
}

// SetProtocolFeatures of the offer.
func (m *Master) SetProtocolFeatures(ctx context.Context, features uint64) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetProtocolFeatures(p, features) })
}

// SetOwner starts a session.
func (m *Master) SetOwner(ctx context.Context) error { return m.tell(ctx, raw.MasterSetOwner) }

// QueueNum is how many queues the back-end has; net: pairs.
func (m *Master) QueueNum(ctx context.Context) (uint32, error) {
	return ask(ctx, m, raw.MasterGetQueueNum)
}

// MaxMemSlots is how many regions it can take.
func (m *Master) MaxMemSlots(ctx context.Context) (uint32, error) {
	return ask(ctx, m, raw.MasterGetMaxMemSlots)
}

// Config reads config space into buf.
func (m *Master) Config(ctx context.Context, offset uint32, buf []byte) error {
	return m.wait(ctx, func() error { return raw.MasterGetConfig(m.p, offset, buf) })
}

// SetConfig writes config space. Flags: ConfigWrite or ConfigMigration.
func (m *Master) SetConfig(ctx context.Context, offset uint32, buf []byte, flags uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetConfig(p, offset, buf, flags) })
}

// SetMem shares all regions of mem.
func (m *Master) SetMem(ctx context.Context, mem *Memory) error {
	return m.withMemory(ctx, mem, func(p *raw.Master) error { return raw.MasterSetMem(p, mem.p) })
}

// AddMemRegion shares one more, by its place in Memory.Regions.
func (m *Master) AddMemRegion(ctx context.Context, mem *Memory, index int) error {
	return m.withMemory(ctx, mem, func(p *raw.Master) error {
		return raw.MasterAddMemRegion(p, mem.p, u32(index))
	})
}

func (m *Master) withMemory(ctx context.Context, mem *Memory, call func(*raw.Master) error) error {
	if mem == nil {
		return missing("memory")
	}
	return m.wait(ctx, func() error { // in the order in which a callback comes to both
		if err := mem.enter(ctx); err != nil {
			return err
		}
		defer mem.leave()
		return call(m.p)
	})
}

// RemoveMemRegion takes one back.
func (m *Master) RemoveMemRegion(ctx context.Context, region *Region) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterRemoveMemRegion(p, region) })
}

// SetVringNum is a ring's size.
func (m *Master) SetVringNum(ctx context.Context, queue, num uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetVringNum(p, queue, num) })
}

// SetVringAddr tells where a ring is.
func (m *Master) SetVringAddr(ctx context.Context, addr *VringAddr) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetVringAddr(p, addr) })
}

// SetVringBase is where a ring begins.
func (m *Master) SetVringBase(ctx context.Context, queue, base uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetVringBase(p, queue, base) })
}

// VringBase stops a ring and tells where it was.
func (m *Master) VringBase(ctx context.Context, queue uint32) (uint32, error) {
	return ask(ctx, m, func(p *raw.Master, base *uint32) error { return raw.MasterGetVringBase(p, queue, base) })
}

// SetVringKick starts a ring; nil: the back-end polls.
func (m *Master) SetVringKick(ctx context.Context, queue uint32, eventfd *os.File) error {
	return m.vringFd(ctx, queue, eventfd, raw.MasterSetVringKick)
}

// SetVringCall is how the back-end tells of completions; nil: not at all.
func (m *Master) SetVringCall(ctx context.Context, queue uint32, eventfd *os.File) error {
	return m.vringFd(ctx, queue, eventfd, raw.MasterSetVringCall)
}

// SetVringErr is how the back-end tells that a ring is broken; nil: not at all.
func (m *Master) SetVringErr(ctx context.Context, queue uint32, eventfd *os.File) error {
	return m.vringFd(ctx, queue, eventfd, raw.MasterSetVringErr)
}

func (m *Master) vringFd(ctx context.Context, queue uint32, f *os.File,
	call func(*raw.Master, uint32, int32) error) error {
	return withFd(f, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return call(p, queue, fd) })
	})
}

// SetVringEnable lets a ring run, or not.
func (m *Master) SetVringEnable(ctx context.Context, queue uint32, on bool) error {
	enable := uint32(0)
	if on {
		enable = 1
	}
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetVringEnable(p, queue, enable) })
}

// SetVringEndian is the byte order of a legacy ring.
func (m *Master) SetVringEndian(ctx context.Context, queue uint32, big bool) error {
	order := uint32(0)
	if big {
		order = 1
	}
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetVringEndian(p, queue, order) })
}

// ResetOwner is deprecated: back-ends differ in what they do.
func (m *Master) ResetOwner(ctx context.Context) error { return m.tell(ctx, raw.MasterResetOwner) }

// ResetDevice resets it.
func (m *Master) ResetDevice(ctx context.Context) error { return m.tell(ctx, raw.MasterResetDevice) }

// SetStatus writes the device status byte.
func (m *Master) SetStatus(ctx context.Context, status uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetStatus(p, status) })
}

// Status reads the device status byte.
func (m *Master) Status(ctx context.Context) (uint32, error) {
	return ask(ctx, m, raw.MasterGetStatus)
}
