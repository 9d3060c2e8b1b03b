// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// frames is a driver of one pair of queues, with 16 receive buffers.
type frames struct {
	t      *testing.T
	rx, tx *vh.Queue
	room   [][]byte
	out    []byte
}

func newFrames(t *testing.T, opts *vh.NetdevOpts, wire *os.File) (*frames, *vh.Driver) {
	t.Helper()
	dev, err := vh.NewNetDev(opts, wire)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	m, s := pair(t, dev)
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeNet})
	memory, err := d.Alloc(within(t), 17*2048)
	must(t, err)
	f := &frames{t: t, out: memory[16*2048:]}
	f.rx, err = d.Queue(0)
	must(t, err)
	f.tx, err = d.Queue(1)
	must(t, err)
	for i := 0; i < 16; i++ {
		f.room = append(f.room, memory[i*2048:(i+1)*2048])
		f.offer(uint64(i))
	}
	return f, d
}

func (f *frames) offer(i uint64) {
	f.t.Helper()
	f.submit(f.rx, vh.Request{Writable: [][]byte{f.room[i]}, User: i})
}

func (f *frames) submit(q *vh.Queue, r vh.Request) {
	f.t.Helper()
	n, err := q.Submit([]vh.Request{r})
	must(f.t, err)
	if n != 1 {
		f.t.Fatal("no room in the ring")
	}
}

func (f *frames) done(q *vh.Queue) vh.Cpl {
	f.t.Helper()
	var cpls [1]vh.Cpl
	for {
		n, err := q.Reap(cpls[:])
		must(f.t, err)
		if n == 1 {
			return cpls[0]
		}
		must(f.t, q.Wait(within(f.t)))
	}
}

func (f *frames) send(frame []byte) {
	f.t.Helper()
	copy(f.out, make([]byte, vh.NetHdrSize))
	n := copy(f.out[vh.NetHdrSize:], frame)
	f.submit(f.tx, vh.Request{Readable: [][]byte{f.out[:vh.NetHdrSize+n]}})
	f.done(f.tx)
}

func (f *frames) receive() []byte {
	f.t.Helper()
	got := f.done(f.rx)
	frame := append([]byte(nil), f.room[got.Token][vh.NetHdrSize:got.Written]...)
	f.offer(got.Token)
	return frame
}

func TestFramesGoThroughALoopbackDevice(t *testing.T) {
	f, d := newFrames(t, &vh.NetdevOpts{Kind: vh.NetdevLoopback, Mac: [6]uint8{2, 0, 0, 0, 0, 1}}, nil)
	features, err := d.Features()
	must(t, err)
	if features&(1<<vh.NetFMac) == 0 || features&(1<<vh.NetFMrgRxbuf) != 0 {
		t.Fatalf("features %#x", features)
	}
	for i := 0; i < 100; i++ {
		frame := pattern(14 + i*15)
		f.send(frame)
		if got := f.receive(); !bytes.Equal(got, frame) {
			t.Fatalf("frame %d: %d bytes came back of %d", i, len(got), len(frame))
		}
	}
}

func TestASocketIsTheWireOfATapDevice(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	f, _ := newFrames(t, &vh.NetdevOpts{Kind: vh.NetdevTap}, theirs)
	f.send([]byte("from the driver"))
	buf := make([]byte, 2048)
	n, err := ours.Read(buf)
	must(t, err)
	if string(buf[:n]) != "from the driver" {
		t.Fatalf("%q", buf[:n])
	}
	_, err = ours.Write([]byte("from the other end"))
	must(t, err)
	if got := f.receive(); string(got) != "from the other end" {
		t.Fatalf("%q", got)
	}
}

func TestASinkSwallowsAndASourceCounts(t *testing.T) {
	f, _ := newFrames(t, &vh.NetdevOpts{Kind: vh.NetdevSink}, nil)
	f.send(make([]byte, 60))
	f, _ = newFrames(t, &vh.NetdevOpts{Kind: vh.NetdevSource, Frame: 100}, nil)
	for i := 0; i < 40; i++ {
		if frame := f.receive(); len(frame) != 100 || frame[14] != byte(i) {
			t.Fatalf("frame %d: % x", i, frame)
		}
	}
	_, err := vh.NewNetDev(&vh.NetdevOpts{Kind: 9}, nil)
	want(t, err, syscall.EINVAL)
}
