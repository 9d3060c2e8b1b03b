// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func TestAnIotlbTranslatesFaultsAndMisses(t *testing.T) {
	const page, guest = 4096, 0x40000000
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	must(t, mem.Alloc(guest, 16*page, 0))
	tlb, err := vh.NewIotlb(nil, mem)
	must(t, err)
	defer tlb.Close()
	must(t, tlb.Update(&vh.IotlbEntry{IOVA: 0x1000, Len: page, Addr: guest + page, Perm: vh.MemRead}))
	views, err := tlb.Bytes(0x1800, 16, vh.MemRead)
	must(t, err)
	if len(views) != 1 || len(views[0]) != 16 {
		t.Fatal(views)
	}
	_, err = tlb.Bytes(0x1800, 16, vh.MemWrite)
	want(t, err, syscall.EFAULT)
	_, err = tlb.Bytes(0x1800, page, vh.MemRead)
	want(t, err, syscall.EAGAIN)
	must(t, tlb.Invalidate(0x1400, 0x400))
	entries, err := tlb.Entries(0)
	must(t, err)
	if len(entries) != 2 || entries[1].Addr != guest+page+0x800 {
		t.Fatalf("%+v", entries)
	}
	if _, ok, err := tlb.NextMiss(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if fd, err := tlb.Fd(); fd < 0 || err != nil {
		t.Fatal(fd, err)
	}
	want(t, tlb.Deny(0x2000), syscall.ENOENT)
	stats, err := tlb.Stats()
	must(t, err)
	if stats.Updates != 1 || stats.Entries != 2 {
		t.Fatalf("%+v", stats)
	}
}

// translator is an IOMMU whose only rule is a distance.
type translator struct {
	m     *vh.Master
	asked chan vh.IOVA
}

const apart = 0x10000

func (a *translator) IotlbMiss(iova vh.IOVA, access uint32) error {
	a.asked <- iova
	if access&^(vh.MemRead|vh.MemWrite) != 0 || iova < apart {
		return syscall.EFAULT
	}
	return a.m.IotlbUpdate(context.Background(), &vh.IotlbEntry{IOVA: iova &^ 4095, Len: 4096, Addr: uint64(iova&^4095) - apart,
		Perm: vh.MemRead | vh.MemWrite})
}

func TestAHandlerAnswersMisses(t *testing.T) {
	a := &translator{asked: make(chan vh.IOVA, 64)}
	s, err := vh.NewSlave(ram(t), &vh.SlaveOpts{MoreFeatures: 1 << vh.FAccessPlatform})
	must(t, err)
	defer s.Close()
	a.m, err = vh.NewMaster(nil, a)
	must(t, err)
	defer a.m.Close()
	meet(t, a.m, s)
	serve(t, s)
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	must(t, mem.Alloc(0, 1<<20, 0))
	d, err := vh.NewDriverOver(within(t), a.m, mem, &vh.DriverOpts{Features: 1<<vh.FVersion1 | 1<<vh.FAccessPlatform})
	must(t, err)
	defer d.Close()
	must(t, d.SetRing(0, &vh.DriverRing{Num: 8, Desc: apart + 0x1000, Driver: apart + 0x2000, Device: apart + 0x3000}, nil, nil))
	must(t, d.Start(within(t)))
	turn(t, a.m)
	seen := map[vh.IOVA]bool{}
	for len(seen) < 3 {
		select {
		case iova := <-a.asked:
			seen[iova&^4095] = true
		case <-within(t).Done():
			t.Fatal(seen)
		}
	}
	if !seen[apart+0x1000] || !seen[apart+0x2000] || !seen[apart+0x3000] {
		t.Fatal(seen)
	}
}

func TestARangeMayHaveAnyNumberOfPieces(t *testing.T) {
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	must(t, mem.Alloc(0, 1<<20, 0))
	tlb, err := vh.NewIotlb(nil, mem)
	must(t, err)
	defer tlb.Close()
	for i := uint64(0); i < 40; i++ { // from back to front: none goes on with its neighbour
		must(t, tlb.Update(&vh.IotlbEntry{IOVA: vh.IOVA(64 * i), Len: 64, Addr: 4096 - 64*i, Perm: vh.MemRead}))
	}
	views, err := tlb.Bytes(0, 40*64, vh.MemRead)
	must(t, err)
	if len(views) != 40 {
		t.Fatal(len(views))
	}
	_, err = tlb.Bytes(0, 1<<63, vh.MemRead)
	want(t, err, syscall.EAGAIN)
}

func TestAnIotlbWithoutAMemoryIsAMap(t *testing.T) {
	tlb, err := vh.NewIotlb(&vh.IotlbOpts{MaxEntries: 1}, nil)
	must(t, err)
	defer tlb.Close()
	must(t, tlb.Update(&vh.IotlbEntry{Len: 4096, Addr: 0x1234, Perm: vh.MemRead | vh.MemWrite}))
	want(t, tlb.Update(&vh.IotlbEntry{IOVA: 0x4000, Len: 4096, Perm: vh.MemRead}), syscall.ENOSPC)
}

func TestScenarioIommu(t *testing.T) {
	const offset = 0x7f0000000000
	m, s := pairWith(t, ram(t), &vh.SlaveOpts{MoreFeatures: 1 << vh.FAccessPlatform})
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk, Flags: vh.DriverIommu, IOVAOffset: offset})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	defer b.Close()
	data := make([]byte, 8192)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for i := int64(0); i < 4; i++ {
		_, err = b.WriteAt(data, i*8192)
		must(t, err)
		must(t, m.IotlbInvalidate(within(t), offset, 1<<40))
	}
	got := make([]byte, len(data))
	_, err = b.ReadAt(got, 8192)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("what was read is not what was written")
	}
}
