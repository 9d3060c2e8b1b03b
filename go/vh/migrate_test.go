// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/libvh/libvh/go/vh"
)

// box is a device whose state is all that it is.
type box struct{ state, arriving []byte }

func (b *box) SaveState(offset uint64, buf []byte, _ vh.Later) (int, error) {
	return copy(buf, b.state[offset:]), nil
}

func (b *box) LoadState(offset uint64, buf []byte, _ vh.Later) error {
	if offset == 0 {
		b.arriving = nil
	}
	b.arriving = append(b.arriving, buf...)
	if len(buf) > 0 {
		return nil
	}
	if !bytes.HasPrefix(b.arriving, []byte("box")) {
		return syscall.EINVAL
	}
	b.state = b.arriving
	return nil
}

func boxed(t *testing.T, state []byte) (*vh.Master, *box) {
	t.Helper()
	b := &box{state: state}
	dev, err := vh.NewDevice(&vh.DeviceOpts{}, b)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	m, s := pair(t, dev)
	serve(t, s)
	_, err = m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	return m, b
}

// A disk in memory is written to, and moves to another back-end.
func TestScenarioDeviceState(t *testing.T) {
	data := make([]byte, 65536)
	rand.Read(data)
	m, s := pair(t, ram(t))
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	_, err = b.WriteAt(data, 4096)
	must(t, err)
	var state bytes.Buffer
	_, err = m.SaveState(within(t), nil, &state)
	want(t, err, syscall.EREMOTEIO)
	must(t, d.Stop(within(t)))
	n, err := m.SaveState(within(t), nil, &state)
	must(t, err)
	if n != 1<<20+32 || state.Len() != int(n) {
		t.Fatalf("%d bytes, %d in the buffer", n, state.Len())
	}

	m, s = pair(t, ram(t))
	serve(t, s)
	_, err = m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	_, err = m.LoadState(within(t), nil, &state)
	must(t, err)
	got := make([]byte, len(data))
	_, err = blk(t, m).ReadAt(got, 4096)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("other data")
	}
}

// A session moves to another back-end: its memory while requests go on, by what the log says, then the device's state.
func TestScenarioMigration(t *testing.T) {
	const piece, length = 64 << 10, 512 << 10
	data := pattern(length)
	m, s := pair(t, ram(t))
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	buffer, err := d.Alloc(within(t), length)
	must(t, err)
	_, err = b.WriteAt(data, 0)
	must(t, err)
	log, err := vh.NewDirty(1 << 30)
	must(t, err)
	defer log.Close()
	must(t, d.SetDirty(within(t), log))
	snap, err := d.Snapshot()
	must(t, err)
	regions, err := snap.Regions()
	must(t, err)
	region := regions[0]
	memory, err := snap.Slice(vh.GPA(region.GPA), region.Len, vh.MemRead)
	must(t, err)
	arrived := append([]byte{}, memory...)
	for at := 0; at < length; at += piece {
		io := vh.BlkIO{Op: vh.BlkRead, Offset: uint64(at), Addr: vh.Addr(buffer[at:]), Len: piece}
		if n, err := b.Submit(0, []vh.BlkIO{io}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		must(t, b.Wait(within(t), 0))
		done := make([]vh.BlkDone, 1)
		n, err := b.Reap(0, done)
		must(t, err)
		if n != 1 || done[0].Rc != 0 {
			t.Fatalf("%+v", done)
		}
		for _, gpa := range taken(t, log) {
			there := uint64(gpa) - uint64(region.GPA)
			copy(arrived[there:there+vh.DirtyPage], memory[there:])
		}
	}
	must(t, d.Stop(within(t)))
	if !bytes.Contains(arrived, data) {
		t.Error("what the device wrote did not arrive")
	}
	must(t, d.SetDirty(within(t), nil))
	var state bytes.Buffer
	_, err = m.SaveState(within(t), nil, &state)
	must(t, err)

	m, s = pair(t, ram(t))
	serve(t, s)
	_, err = m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	_, err = m.LoadState(within(t), nil, &state)
	must(t, err)
	got := make([]byte, length)
	_, err = blk(t, m).ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("other data")
	}
}

func TestStateOfADeviceInGo(t *testing.T) {
	state := append([]byte("box"), make([]byte, 300000)...)
	rand.Read(state[3:])
	from, _ := boxed(t, state)
	to, b := boxed(t, nil)
	file, err := os.CreateTemp(t.TempDir(), "state")
	must(t, err)
	defer file.Close()
	n, err := from.SaveState(within(t), nil, file)
	must(t, err)
	if n != uint64(len(state)) {
		t.Errorf("%d bytes", n)
	}
	_, err = file.Seek(0, io.SeekStart)
	must(t, err)
	_, err = to.LoadState(within(t), nil, file)
	must(t, err)
	if !bytes.Equal(b.state, state) {
		t.Error("another state")
	}
	_, err = to.LoadState(within(t), nil, bytes.NewReader([]byte("something else")))
	want(t, err, syscall.EREMOTEIO)
	_, err = from.SaveState(within(t), &vh.StateOpts{MaxBytes: 1000}, io.Discard)
	want(t, err, syscall.EFBIG)
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }
func (broken) Read([]byte) (int, error)  { return 0, errBroken }

func TestStateWhoseFileFails(t *testing.T) {
	m, _ := boxed(t, []byte("box"))
	_, err := m.SaveState(within(t), nil, broken{})
	want(t, err, errBroken)
	_, err = m.LoadState(within(t), nil, broken{})
	if err == nil {
		t.Error("nothing failed")
	}
}

func TestStateMessagesOneByOne(t *testing.T) {
	m, b := boxed(t, []byte("boxed"))
	r, w, err := os.Pipe()
	must(t, err)
	instead, err := m.SetDeviceStateFD(within(t), vh.StateSave, w)
	must(t, err)
	must(t, w.Close())
	if instead != nil {
		t.Error("another file")
	}
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	must(t, m.CheckDeviceState(within(t)))
	if string(got) != "boxed" {
		t.Errorf("%q", got)
	}
	file, err := os.CreateTemp(t.TempDir(), "state")
	must(t, err)
	defer file.Close()
	instead, err = m.SetDeviceStateFD(within(t), vh.StateLoad, file)
	must(t, err)
	_, err = instead.Write([]byte("box 2"))
	must(t, err)
	must(t, instead.Close())
	must(t, m.CheckDeviceState(within(t)))
	if string(b.state) != "box 2" {
		t.Errorf("%q", b.state)
	}
}

// removed takes pages out of the file that memory is in.
func removed(t *testing.T, memory []byte) {
	t.Helper()
	const madvRemove = 9
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)), madvRemove); errno != 0 {
		t.Fatal(errno)
	}
}

// A disk is written to while the data is elsewhere, and read into pages that are missing.
func TestScenarioPostcopy(t *testing.T) {
	const page, length = 4096, 64 << 10
	m, s := pairWith(t, ram(t), &vh.SlaveOpts{Postcopy: 1})
	serve(t, s)
	_, err := m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	late, err := m.PostcopyAdvise(within(t))
	must(t, err)
	must(t, m.PostcopyListen(within(t)))
	d, err := vh.NewDriver(within(t), m, &vh.DriverOpts{Type: vh.TypeBlk})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	buffer, err := d.Alloc(within(t), 1<<20)
	must(t, err)
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	snap, err := d.Snapshot()
	must(t, err)
	regions, err := snap.Regions()
	must(t, err)
	region := regions[0]
	source := make([]byte, region.Len)
	rand.Read(source)
	start := uint64(vh.Addr(buffer))
	skip := -start % page // Wake and Place are for whole pages
	at := start + skip - region.Host
	view := buffer[skip : skip+2*length]

	brought, over := 0, make(chan error, 1)
	go func() {
		for {
			if err := late.Wait(context.Background()); err != nil {
				over <- err
				return
			}
			for {
				fault, ok, err := late.Next()
				if err != nil || !ok {
					break
				}
				from := uint64(fault.GPA) - uint64(region.GPA)
				if err := late.Place(vh.GPA(fault.GPA), source[from:from+fault.PageSize]); err != nil {
					over <- err
					return
				}
				brought++
			}
		}
	}()
	must(t, d.Start(within(t)))
	for i, io := range []vh.BlkIO{{Op: vh.BlkWrite, Addr: vh.Addr(view)}, {Op: vh.BlkRead, Addr: vh.Addr(view) + length}} {
		removed(t, view)
		io.Len = length
		if n, err := b.Submit(0, []vh.BlkIO{io}); n != 1 || err != nil {
			t.Fatal(i, n, err)
		}
		must(t, b.Wait(within(t), 0))
		done := make([]vh.BlkDone, 1)
		n, err := b.Reap(0, done)
		must(t, err)
		if n != 1 || done[0].Rc != 0 {
			t.Fatalf("%d: %+v", i, done)
		}
	}
	if !bytes.Equal(view[length:], source[at:at+length]) {
		t.Error("other data")
	}
	must(t, m.PostcopyEnd(within(t)))
	must(t, late.Close())
	if err := <-over; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if brought < length/page {
		t.Errorf("%d pages", brought)
	}
}
