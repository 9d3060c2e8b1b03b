// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

var page = uint64(os.Getpagesize())

// sharer is a device that has an object, and what a front-end does for it.
type sharer struct {
	*disk
	file *os.File
	said []any
	// As they were given, and so its own.
	part *vh.ShmemMap
	uuid []byte
}

func (h *sharer) SharedObject(uuid []byte, _ vh.Later) (*os.File, error) {
	return h.ObjectWanted(uuid, 0)
}

func (h *sharer) MapShmem(part *vh.ShmemMap, fd int, _ uint64) error {
	buf := make([]byte, 4)
	_, err := syscall.Pread(fd, buf, int64(part.FDOffset))
	h.said = append(h.said, *part, string(buf))
	h.part = part
	return err
}

func (h *sharer) UnmapShmem(part *vh.ShmemMap, _ uint64) error {
	h.said = append(h.said, *part)
	return nil
}

func (h *sharer) HostNotifier(queue, fd int, offset, length uint64, _ uint64) error {
	h.said = append(h.said, queue, fd >= 0, offset, length)
	return nil
}

func (h *sharer) ObjectAdded(uuid []byte, _ uint64) error {
	h.said = append(h.said, string(uuid))
	h.uuid = uuid
	return nil
}

func (h *sharer) ObjectRemoved([]byte, uint64) error { return syscall.EPERM }

func (h *sharer) ObjectWanted(uuid []byte, _ uint64) (*os.File, error) {
	if !bytes.Equal(uuid, objectName) {
		return nil, syscall.ENOENT
	}
	return h.file, nil
}

var objectName = []byte("an object's name")

// turn serves a front-end until the test is over.
func turn(t *testing.T, m *vh.Master) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			more, err := m.Dispatch()
			if err == nil && !more {
				err = m.Wait(ctx)
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
}

func TestScenarioBackendRequests(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "shared")
	must(t, err)
	defer file.Close()
	must(t, file.Truncate(4*int64(page)))
	_, err = file.WriteAt([]byte("abcd"), int64(page))
	must(t, err)
	h := &sharer{disk: newDisk(), file: file}
	dev := device(t, h)
	must(t, dev.SetShmem(3, 4*page))
	want(t, dev.SetShmem(256, page), syscall.EINVAL)
	s, err := vh.NewSlave(dev, &vh.SlaveOpts{MoreProtocolFeatures: 1 << vh.PFHostNotifier})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	m, err := vh.NewMaster(nil, h)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	meet(t, m, s)
	serve(t, s)
	driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	regions, err := m.Shmem(within(t))
	must(t, err)
	if len(regions) != 1 || regions[3] != 4*page {
		t.Fatal(regions)
	}
	turn(t, m)
	done := func(ticket vh.Ticket, err error) (*vh.RawReply, error) {
		t.Helper()
		must(t, err)
		return s.Finish(within(t), ticket)
	}
	part := &vh.ShmemMap{Shmid: 3, ShmOffset: 2 * page, Len: page, FDOffset: page, Flags: vh.ShmemWritable}
	_, err = done(s.ShmemMap(part, file))
	must(t, err)
	_, err = done(s.ShmemMap(part, file))
	want(t, err, syscall.EREMOTEIO)
	_, err = done(s.ShmemUnmap(part))
	must(t, err)
	_, err = done(s.ShmemUnmap(part))
	want(t, err, syscall.EREMOTEIO)
	_, err = done(s.ObjectAdd(objectName))
	must(t, err)
	_, err = done(s.ObjectRemove(objectName))
	want(t, err, syscall.EREMOTEIO)
	reply, err := done(s.ObjectLookup(objectName))
	must(t, err)
	same(t, file, reply.Files[0])
	_, err = done(s.ObjectLookup([]byte("another's object")))
	want(t, err, syscall.EREMOTEIO)
	_, err = done(s.SetHostNotifier(1, file, page, page))
	must(t, err)
	_, err = done(s.SetHostNotifier(1, nil, 0, 0))
	must(t, err)
	got, err := m.SharedObject(within(t), objectName)
	must(t, err)
	same(t, file, got)
	_, err = m.SharedObject(within(t), []byte("another's object"))
	want(t, err, syscall.EREMOTEIO)
	if len(h.said) != 12 || h.said[1] != "abcd" || h.said[3] != string(objectName) || h.said[5] != true || h.said[9] != false {
		t.Fatal(h.said)
	}
	if mapped := h.said[0].(vh.ShmemMap); mapped.ShmOffset != 2*page || mapped.Flags != vh.ShmemWritable {
		t.Fatal(mapped)
	}
	if h.part.ShmOffset != 2*page || h.part.Flags != vh.ShmemWritable || !bytes.Equal(h.uuid, objectName) {
		t.Fatal(h.part, h.uuid)
	}
}

// cache is that of a virtio-fs device.
type cache struct {
	said chan uint32
	got  []vh.FsRange
}

func (c *cache) FsRequest(op uint32, ranges []vh.FsRange, fd int, _ uint64) error {
	c.got = ranges
	c.said <- op
	if op == vh.FsSync || (fd >= 0) != (op == vh.FsMap || op == vh.FsIO) {
		return syscall.EIO
	}
	return nil
}

func TestAVirtioFsDeviceAsksForItsCache(t *testing.T) {
	for _, dialect := range []uint32{vh.DialectVirtioFs, vh.DialectCrosvm} {
		c := &cache{said: make(chan uint32, 1)}
		s, err := vh.NewSlave(device(t, newDisk()), &vh.SlaveOpts{Dialect: dialect})
		must(t, err)
		t.Cleanup(func() { s.Close() })
		m, err := vh.NewMaster(&vh.MasterOpts{Dialect: dialect}, c)
		must(t, err)
		t.Cleanup(func() { m.Close() })
		meet(t, m, s)
		serve(t, s)
		driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
		turn(t, m)
		null, err := os.Open(os.DevNull)
		must(t, err)
		ranges := []vh.FsRange{{FDOffset: page, Len: page, Flags: vh.FsRead}, {CacheOffset: page, Len: 5}}
		for op := uint32(vh.FsMap); op <= vh.FsIO; op++ {
			file := null
			if op == vh.FsUnmap || op == vh.FsSync {
				file = nil
			}
			ticket, err := s.FsRequest(op, ranges, file)
			must(t, err)
			if _, err = s.Finish(within(t), ticket); (err != nil) != (op == vh.FsSync) {
				t.Fatal(op, err)
			}
			if got := <-c.said; got != op || len(c.got) != 2 || c.got[1] != ranges[1] {
				t.Fatal(got, c.got)
			}
		}
		must(t, null.Close())
	}
}

// same file, of which the second is closed.
func same(t *testing.T, a, b *os.File) {
	t.Helper()
	defer b.Close()
	one, err := a.Stat()
	must(t, err)
	two, err := b.Stat()
	must(t, err)
	if !os.SameFile(one, two) {
		t.Fatal("another file")
	}
}

// A back-end is served also while another goroutine waits for news of it.
func TestServeGoesOnWhereAnotherGoroutineWaits(t *testing.T) {
	m, s := pair(t, device(t, newDisk()))
	for more := true; more; {
		var err error
		more, err = s.Dispatch()
		must(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			s.Wait(ctx)
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
	for ready := false; !ready; time.Sleep(time.Millisecond) {
		short, done := context.WithTimeout(ctx, time.Millisecond)
		ready = errors.Is(s.Wait(short), syscall.EBUSY)
		done()
	}
	serve(t, s)
	for i := 0; i < 3; i++ {
		_, err := m.Features(within(t))
		must(t, err)
	}
}
