// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/libvh/libvh/go/internal/raw"
)

// Addresses: of the guest, of the front-end, and behind an IOMMU.
type (
	GPA  = raw.GPA
	UVA  = raw.UVA
	IOVA = raw.IOVA
)

type (
	MemOpts = raw.MemOpts
	Region  = raw.Region
	Seg     = raw.Seg
)

// Memory is guest memory: a set of regions. Its calls may come from several goroutines.
type Memory struct {
	*handle
	p *raw.Mem
}

// NewMemory is an empty guest memory; nil options are the defaults.
func NewMemory(opts *MemOpts) (*Memory, error) {
	p, err := made(func(out **raw.Mem) error { return raw.MemNew(opts, out) })
	if err != nil {
		return nil, err
	}
	m := &Memory{handle: newHandle(&caught{}), p: p}
	runtime.SetFinalizer(m, forgotten[*Memory])
	return m, nil
}

// Close gives it up. Mappings go when the last Snapshot that has them goes.
func (m *Memory) Close() error {
	runtime.SetFinalizer(m, nil)
	return m.shut(nil, func() { raw.MemFree(m.p) })
}

// Alloc adds a region in a memfd. Flags: 0 or RegionHuge.
func (m *Memory) Alloc(gpa GPA, length uint64, flags uint32) error {
	return m.do(func() error { return raw.MemAlloc(m.p, gpa, length, flags) })
}

// AddFile maps a range of a file, which is duplicated.
func (m *Memory) AddFile(f *os.File, region *Region) error {
	return withFd(f, func(fd int32) error {
		return m.do(func() error { return raw.MemAddFD(m.p, fd, region) })
	})
}

// Remove takes out the region with exactly these addresses and this length.
func (m *Memory) Remove(region *Region) error {
	return m.do(func() error { return raw.MemRemove(m.p, region) })
}

// Regions lists them by ascending guest address.
func (m *Memory) Regions() (regions []Region, err error) {
	err = m.do(func() error {
		regions, err = allRegions(func(room []Region) (int, error) { return raw.MemRegions(m.p, room) })
		return err
	})
	return regions, err
}

// File is a duplicate of the file behind a region, by its place in Regions.
func (m *Memory) File(index int) (*os.File, error) {
	var fd int32
	if err := m.do(func() error { return raw.MemDupFD(m.p, u32(index), &fd) }); err != nil {
		return nil, err
	}
	return fileOf(fd, "guest memory"), nil
}

// Snapshot pins the present regions.
func (m *Memory) Snapshot() (*Snapshot, error) {
	return newSnapshot(func(out **raw.Snapshot) error {
		return m.do(func() error { return raw.MemDupSnapshot(m.p, out) })
	})
}

// InstallMemoryGuard, which Serve of a Slave or a Vduse calls, lets the process survive guest memory that its peer truncates. It is for the whole process: a
// SIGBUS inside a mapping of the library is handled, any other goes to Go's runtime as before.
func InstallMemoryGuard() error { return raw.MemGuardInstall() }

// RemoveMemoryGuard puts back the SIGBUS handler that was there.
func RemoveMemoryGuard() error { return raw.MemGuardRemove() }

// Snapshot pins guest memory: views of it may be used until Close, after which they are no memory any more. A forgotten
// one is never closed for you, because a view does not keep it from being collected.
type Snapshot struct {
	life life
	p    *raw.Snapshot
}

func newSnapshot(dup func(**raw.Snapshot) error) (*Snapshot, error) {
	p, err := made(dup)
	if err != nil {
		return nil, err
	}
	return &Snapshot{p: p}, nil
}

// Close un-pins it.
func (s *Snapshot) Close() error {
	if s.life.end() {
		raw.SnapshotFree(s.p)
	}
	return nil
}

// Number is the one that Req.Mem names.
func (s *Snapshot) Number() uint32 {
	if s.life.enter() != nil {
		return 0
	}
	defer s.life.leave()
	return raw.SnapshotNumber(s.p)
}

// Regions lists them by ascending guest address.
func (s *Snapshot) Regions() ([]Region, error) {
	if err := s.life.enter(); err != nil {
		return nil, err
	}
	defer s.life.leave()
	return allRegions(func(room []Region) (int, error) { return raw.SnapshotRegions(s.p, room) })
}

// Bytes is a guest range as slices, one for each region that it crosses. Access is MemRead, MemWrite or both.
func (s *Snapshot) Bytes(gpa GPA, length uint64, access uint32) ([][]byte, error) {
	if err := s.life.enter(); err != nil {
		return nil, err
	}
	defer s.life.leave()
	var room [MemMaxRegions]Seg
	n, err := raw.SnapshotTranslate(s.p, gpa, length, access, room[:])
	if err != nil {
		return nil, err
	}
	views := make([][]byte, n)
	for i := range views {
		views[i] = room[i].Bytes()
	}
	return views, nil
}

// Slice is Bytes of a range inside one region.
func (s *Snapshot) Slice(gpa GPA, length uint64, access uint32) ([]byte, error) {
	views, err := s.Bytes(gpa, length, access)
	if err != nil {
		return nil, err
	}
	if len(views) != 1 {
		return nil, fmt.Errorf("vh: %#x and %d bytes behind it are in %d regions: %w", gpa, length, len(views), syscall.EFAULT)
	}
	return views[0], nil
}

// allRegions asks again with more room until it is enough.
func allRegions(list func([]Region) (int, error)) ([]Region, error) {
	regions := make([]Region, 8)
	for {
		n, err := list(regions)
		if err != nil {
			return nil, err
		}
		if n <= len(regions) {
			return regions[:n], nil
		}
		regions = make([]Region, n)
	}
}
