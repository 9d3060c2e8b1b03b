// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"io"
	"os"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func TestCloseTwiceAndUseAfterwards(t *testing.T) {
	mem, err := vh.NewMemory(nil)
	must(t, err)
	must(t, mem.Alloc(0, 1<<20, 0))
	snap, err := mem.Snapshot()
	must(t, err)
	q, err := vh.OpenQueue(mem, &vh.QueueOpts{Role: vh.QueueDevice, Num: 4, Desc: 0, Driver: 0x1000, Device: 0x2000}, nil, nil)
	must(t, err)
	dev := ram(t)
	m, s := pair(t, dev)
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	slaveQueue, err := s.Queue(0)
	must(t, err)
	driverQueue, err := d.Queue(0)
	must(t, err)
	for _, one := range []struct {
		name string
		io.Closer
		use func() error
	}{
		{"Blk", b, func() error { _, err := b.Submit(0, make([]vh.BlkIO, 1)); return err }},
		{"Driver", d, func() error { _, err := d.Features(); return err }},
		{"its queue", driverQueue, func() error { _, err := driverQueue.Reap(make([]vh.Cpl, 1)); return err }},
		{"Master", m, func() error { _, err := m.Features(within(t)); return err }},
		{"Slave", s, func() error { _, err := s.Dispatch(); return err }},
		{"its queue", slaveQueue, func() error { _, err := slaveQueue.Pop(make([]vh.Req, 1)); return err }},
		{"Device", dev, dev.ConfigChanged},
		{"Queue", q, func() error { _, err := q.State(); return err }},
		{"Snapshot", snap, func() error { _, err := snap.Regions(); return err }},
		{"Memory", mem, func() error { return mem.Alloc(1<<30, 4096, 0) }},
	} {
		t.Run(one.name, func(t *testing.T) {
			must(t, one.Close())
			must(t, one.Close())
			want(t, one.use(), os.ErrClosed)
		})
	}
}

func TestAMasterTakesItsDriversAlong(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	d := driven(t, m, nil)
	q, err := d.Queue(0)
	must(t, err)
	must(t, m.Close())
	_, err = d.Features()
	want(t, err, os.ErrClosed)
	_, err = q.Stats()
	want(t, err, os.ErrClosed)
	must(t, d.Close())
}
