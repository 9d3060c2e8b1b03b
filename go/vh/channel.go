// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"

	"github.com/libvh/libvh/go/internal/raw"
)

// ShmemMap is a part of a file in a region of a device's shared memory. Flags: 0 or ShmemWritable.
type ShmemMap = raw.ShmemMap

// FsRange is one range of a virtio-fs request. Flags: FsRead, FsWrite.
type FsRange = raw.FsRange

// What a Master may do for its back-end, each by an interface of its own: what there is is negotiated. Descriptors are
// closed after the call, so duplicate those to keep. After ErrLater the token is for Master.Answer; 0: no answer is
// wanted.
type (
	// BackendAsked gets the requests that nothing else answers.
	BackendAsked interface {
		BackendRequest(r *BackendRequest) error
	}
	// IotlbAnswerer is asked what an I/O address means of which Master.SetIotlb's map says nothing. It answers by
	// Master.IotlbUpdate, from inside or later; an error: there is no answer, and the back-end may give the queue up.
	// Access: MemRead, MemWrite or both. There is no token.
	IotlbAnswerer interface {
		IotlbMiss(iova IOVA, access uint32) error
	}
	// ShmemMapper maps parts of files into the device's shared memory. The place exists and is free, and goes as it
	// came; EventShmemReset says that all are to be undone.
	ShmemMapper interface {
		MapShmem(part *ShmemMap, fd int, token uint64) error
		UnmapShmem(part *ShmemMap, token uint64) error
	}
	// HostNotifier may give the guest a queue's doorbell, a page of a file; fd -1: not any more.
	HostNotifier interface {
		HostNotifier(queue, fd int, offset, length uint64, token uint64) error
	}
	// ObjectKeeper knows whose an object is. ObjectWanted gives a file, which stays its own; later it is Answer with
	// 8 bytes of zero and the file.
	ObjectKeeper interface {
		ObjectAdded(uuid []byte, token uint64) error
		ObjectRemoved(uuid []byte, token uint64) error
		ObjectWanted(uuid []byte, token uint64) (*os.File, error)
	}
	// FsCache is that of a virtio-fs device, in a MasterOpts.Dialect that has its requests. Op: FsMap, FsUnmap, FsSync
	// or FsIO; fd: -1 when there is none.
	FsCache interface {
		FsRequest(op uint32, ranges []FsRange, fd int, token uint64) error
	}
)

// owned is a copy of what the library lends for the time of a callback.
func owned[T any](lent []T) []T { return append([]T(nil), lent...) }

// borrowedFd is the descriptor of a file that its owner keeps open until the library has duplicated it.
func borrowedFd(c *caught, keep **os.File, give func() (*os.File, error)) (fd int32) {
	rc := c.run(func() (err error) {
		if *keep, err = give(); err == nil {
			fd, err = fdOf(*keep)
		}
		return err
	})
	if rc != 0 {
		return rc
	}
	return fd
}

func channelOps(c *caught, ops *raw.MasterOps, handler any) {
	if h, ok := handler.(IotlbAnswerer); ok {
		ops.IotlbMiss = func(iova IOVA, access uint32) int32 {
			return c.run(func() error { return h.IotlbMiss(iova, access) })
		}
	}
	if h, ok := handler.(ShmemMapper); ok {
		ops.ShmemMap = func(part *raw.ShmemMap, fd int32, token uint64) int32 {
			own := *part
			return c.run(func() error { return h.MapShmem(&own, int(fd), token) })
		}
		ops.ShmemUnmap = func(part *raw.ShmemMap, token uint64) int32 {
			own := *part
			return c.run(func() error { return h.UnmapShmem(&own, token) })
		}
	}
	if h, ok := handler.(HostNotifier); ok {
		ops.HostNotifier = func(queue uint32, fd int32, offset, length, token uint64) int32 {
			return c.run(func() error { return h.HostNotifier(int(queue), int(fd), offset, length, token) })
		}
	}
	if h, ok := handler.(FsCache); ok {
		ops.FsRequest = func(op uint32, ranges []raw.FsRange, fd int32, token uint64) int32 {
			return c.run(func() error { return h.FsRequest(op, owned(ranges), int(fd), token) })
		}
	}
	if h, ok := handler.(ObjectKeeper); ok {
		var keep *os.File
		ops.ObjectAdded = func(uuid []byte, token uint64) int32 {
			return c.run(func() error { return h.ObjectAdded(owned(uuid), token) })
		}
		ops.ObjectRemoved = func(uuid []byte, token uint64) int32 {
			return c.run(func() error { return h.ObjectRemoved(owned(uuid), token) })
		}
		ops.ObjectWanted = func(uuid []byte, token uint64) int32 {
			return borrowedFd(c, &keep, func() (*os.File, error) { return h.ObjectWanted(owned(uuid), token) })
		}
	}
}

// ask is a request of the back-end's with one fd, nil: none.
func (s *Slave) ask(file *os.File, call func(fd int32, ticket *uint64) error) (Ticket, error) {
	var ticket uint64
	err := withFd(file, func(fd int32) error {
		return s.do(func() error { return call(fd, &ticket) })
	})
	return Ticket(ticket), err
}

// SetHostNotifier lets the guest reach a queue's doorbell itself: a page of a file; nil takes it back. Finish says what
// came of it, as for all of these.
func (s *Slave) SetHostNotifier(queue int, file *os.File, offset, length uint64) (Ticket, error) {
	return s.ask(file, func(fd int32, ticket *uint64) error {
		return raw.SlaveSetHostNotifier(s.p, u32(queue), fd, offset, length, ticket)
	})
}

// ObjectAdd tells of an object that other devices may ask for.
func (s *Slave) ObjectAdd(uuid []byte) (Ticket, error) {
	return s.ask(nil, func(_ int32, ticket *uint64) error { return raw.SlaveObjectAdd(s.p, uuid, ticket) })
}

// ObjectRemove tells that it has it no more.
func (s *Slave) ObjectRemove(uuid []byte) (Ticket, error) {
	return s.ask(nil, func(_ int32, ticket *uint64) error { return raw.SlaveObjectRemove(s.p, uuid, ticket) })
}

// ObjectLookup asks for an object of another device: RawReply.Files.
func (s *Slave) ObjectLookup(uuid []byte) (Ticket, error) {
	return s.ask(nil, func(_ int32, ticket *uint64) error { return raw.SlaveObjectLookup(s.p, uuid, ticket) })
}

// ShmemMap shows the driver a part of a file in the device's shared memory.
func (s *Slave) ShmemMap(part *ShmemMap, file *os.File) (Ticket, error) {
	return s.ask(file, func(fd int32, ticket *uint64) error { return raw.SlaveShmemMap(s.p, part, fd, ticket) })
}

// ShmemUnmap takes away just one mapping.
func (s *Slave) ShmemUnmap(part *ShmemMap) (Ticket, error) {
	return s.ask(nil, func(_ int32, ticket *uint64) error { return raw.SlaveShmemUnmap(s.p, part, ticket) })
}

// FsRequest is what a virtio-fs device wants of its cache, in a SlaveOpts.Dialect that has its requests. FsMap and FsIO
// have a file.
func (s *Slave) FsRequest(op uint32, ranges []FsRange, file *os.File) (Ticket, error) {
	return s.ask(file, func(fd int32, ticket *uint64) error { return raw.SlaveFsRequest(s.p, op, ranges, fd, ticket) })
}

// SetShmem gives the device a region of shared memory, before it is a Slave's.
func (d *Device) SetShmem(shmid int, size uint64) error {
	return d.any(func() error { return raw.DeviceSetShmem(d.p, u32(shmid), size) })
}

// SharedObject is an object that the device has told of.
func (m *Master) SharedObject(ctx context.Context, uuid []byte) (*os.File, error) {
	fd := int32(-1)
	err := m.tell(ctx, func(p *raw.Master) error { return raw.MasterGetSharedObject(p, uuid, &fd) })
	return fileCame(fd, "shared object", err), err
}

// Shmem is the sizes of the regions of the device's shared memory, by number.
func (m *Master) Shmem(ctx context.Context) (map[int]uint64, error) {
	sizes, regions := make([]uint64, ShmemMax), map[int]uint64{}
	err := m.wait(ctx, func() error {
		_, err := raw.MasterGetShmem(m.p, sizes)
		return err
	})
	for shmid, size := range sizes {
		if size != 0 {
			regions[shmid] = size
		}
	}
	return regions, err
}
