// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// witness is a device that writes down what it is told. It has no OnBatch, so its user pops and pushes.
type witness struct {
	mu   sync.Mutex
	told []string
}

func (w *witness) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

func (w *witness) has(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.told {
		if s == what {
			return true
		}
	}
	return false
}

func (w *witness) ReadConfig(offset uint32, buf []byte, _ vh.Later) error {
	config := make([]byte, vh.ConfigMax)
	config[0] = 128
	copy(buf, config[offset:])
	return nil
}

func (w *witness) SetFeatures(features uint64, _ vh.Later) error {
	w.tell("version 1: %v", features&(1<<vh.FVersion1) != 0)
	return nil
}

func (w *witness) Reset(vh.Later) error {
	w.tell("reset")
	return nil
}

func (w *witness) QueueStarted(q *vh.Queue, index int) {
	state, err := q.State()
	w.tell("started %d %d %v", index, state, err)
}

func (w *witness) QueueStopped(_ *vh.Queue, index int) { w.tell("stopped %d", index) }

func TestADeviceIsToldWhatHappens(t *testing.T) {
	w := &witness{}
	m, s := pair(t, device(t, w))
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk, NQueues: 2})
	must(t, d.Stop(within(t)))
	must(t, m.ResetOwner(within(t)))
	must(t, m.ResetDevice(within(t)))
	for _, what := range []string{"version 1: true", "started 0 1 <nil>", "started 1 1 <nil>", "stopped 0", "stopped 1", "reset"} {
		if !w.has(what) {
			t.Errorf("not told: %s", what)
		}
	}
	must(t, m.Disconnect())
	eventually(t, "the choice ends with the connection", func() bool { return w.has("version 1: false") })
}

func TestQueuesOfADeviceDrivenByTheirUser(t *testing.T) {
	m, s := pair(t, device(t, &witness{}))
	serve(t, s)
	q, err := s.Queue(0)
	must(t, err)
	over := make(chan error)
	go func() {
		for {
			_, err := q.Each(64, func(r *vh.Req) uint32 {
				r.Write(bytes.Repeat([]byte{42}, int(r.WrLen)-1), 0)
				r.Write([]byte{0}, int(r.WrLen)-1)
				return uint32(r.WrLen)
			})
			if err == nil {
				err = q.Wait(within(t))
			}
			if err != nil {
				over <- err
				return
			}
		}
	}()
	got := make([]byte, 4096)
	_, err = blk(t, m).ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, bytes.Repeat([]byte{42}, 4096)) {
		t.Fatal("not what the device wrote")
	}
	must(t, q.Close())
	want(t, <-over, os.ErrClosed)
}

func TestAnErrorOfOnBatchBreaksTheQueue(t *testing.T) {
	cause := errors.New("no such disk")
	d := newDisk()
	d.batch = func(*vh.Queue, int) (bool, error) { return false, cause }
	m, s := pair(t, device(t, d))
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 100)
	go func() {
		defer close(ended)
		for ctx.Err() == nil { // the driver is not done when the first error comes
			ended <- s.Serve(ctx)
		}
	}()
	driver := driven(t, m, nil)
	if err := <-ended; err != cause {
		t.Fatalf("Serve ended with %v", err)
	}
	for {
		event, ok, err := s.NextEvent()
		must(t, err)
		if !ok {
			t.Fatal("no event")
		}
		if event.Kind == vh.EventBroken {
			if event.Queue != 0 || event.Reason != -int32(syscall.EIO) {
				t.Fatalf("%+v", event)
			}
			break
		}
	}
	must(t, driver.Close())
	cancel()
	for range ended {
	}
}

func TestBatchesOfBlockRequests(t *testing.T) {
	dev, err := vh.NewBlkdev(&vh.BlkdevOpts{Kind: vh.BlkdevRam, Capacity: 1 << 20, MaxQueues: 2,
		Serial: [vh.BlkIDSize]byte{'G', 'o'}}, nil)
	must(t, err)
	defer dev.Close()
	m, s := pair(t, dev)
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk, NQueues: 2})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	id, err := b.ID(within(t))
	must(t, err)
	buf, err := d.Alloc(within(t), 64*512)
	must(t, err)
	copy(buf, pattern(len(buf)))
	wrote := append([]byte{}, buf...)
	for _, op := range []uint32{vh.BlkWrite, vh.BlkRead} {
		ios := make([]vh.BlkIO, 64)
		for i := range ios {
			ios[i] = vh.BlkIO{Op: op, Offset: uint64(i) * 512, Addr: vh.Addr(buf[i*512:]), Len: 512, User: uint64(i)}
		}
		all(t, b, 1, ios)
		if op == vh.BlkWrite {
			copy(buf, make([]byte, len(buf)))
		}
	}
	if !bytes.Equal(buf, wrote) || id != "Go" {
		t.Fatal("what was written is not what is read", id)
	}
}

// all submits requests and reaps every one.
func all(t *testing.T, b *vh.Blk, queue int, ios []vh.BlkIO) {
	t.Helper()
	seen := map[uint64]bool{}
	done := make([]vh.BlkDone, 16)
	for next := 0; len(seen) < len(ios); {
		if next < len(ios) {
			n, err := b.Submit(queue, ios[next:])
			must(t, err)
			next += n
		}
		must(t, b.Wait(within(t), queue))
		n, err := b.Reap(queue, done)
		must(t, err)
		for _, one := range done[:n] {
			if one.Rc != 0 || seen[one.User] {
				t.Fatalf("%+v", one)
			}
			seen[one.User] = true
		}
	}
}

// peer is the little of a back-end that it takes to ask something of a front-end.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	back *os.File // where the back-end asks
}

const (
	versionOne, needReply, isReply = 1, 8, 4
	backendChannel                 = 21 // SET_BACKEND_REQ_FD
	features                       = 1<<vh.FProtocolFeatures | 1<<vh.FVersion1
	protocolFeatures               = 1<<vh.PFBackendReq | 1<<vh.PFReplyAck | 1<<vh.PFSharedObject
)

func message(id, flags uint32, payload []byte) []byte {
	head := make([]byte, 12, 12+len(payload))
	binary.LittleEndian.PutUint32(head, id)
	binary.LittleEndian.PutUint32(head[4:], flags|versionOne)
	binary.LittleEndian.PutUint32(head[8:], uint32(len(payload)))
	return append(head, payload...)
}

// answer answers the messages of a negotiation until the connection ends.
func (p *peer) answer(got chan<- *os.File) {
	values := map[uint32]uint64{1: features, 15: protocolFeatures}
	for {
		head, control := make([]byte, 12), make([]byte, 64)
		n, nc, _, _, err := p.conn.ReadMsgUnix(head, control)
		if err != nil || n < 12 {
			return
		}
		id, flags := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		io.ReadFull(p.conn, make([]byte, binary.LittleEndian.Uint32(head[8:])))
		if id == backendChannel {
			messages, _ := syscall.ParseSocketControlMessage(control[:nc])
			fds, _ := syscall.ParseUnixRights(&messages[0])
			got <- os.NewFile(uintptr(fds[0]), "back-end channel")
		}
		value, asked := values[id]
		if asked || flags&needReply != 0 {
			p.conn.Write(message(id, isReply, binary.LittleEndian.AppendUint64(nil, value)))
		}
	}
}

func TestARequestOfTheBackend(t *testing.T) {
	path, files := socketPath(t), make(chan *os.File, 1)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	defer l.Close()
	go func() {
		conn, err := l.AcceptUnix()
		if err == nil {
			(&peer{t: t, conn: conn}).answer(files)
			conn.Close()
		}
	}()
	asked := make(chan vh.BackendRequest, 1)
	var m *vh.Master
	m, err = vh.NewMaster(nil, func(r *vh.BackendRequest) error {
		asked <- vh.BackendRequest{ID: r.ID, Payload: append([]byte{}, r.Payload...), Token: r.Token}
		if _, err := m.Stats(); err != nil { // the handle lets its own callback in
			return err
		}
		if _, err := m.Features(within(t)); !errors.Is(err, syscall.EDEADLK) {
			return fmt.Errorf("a wait inside of a callback: %v", err)
		}
		return syscall.EACCES
	})
	must(t, err)
	defer m.Close()
	must(t, m.Connect(within(t), path))
	_, err = m.Negotiate(within(t), 0)
	must(t, err)
	must(t, m.SetProtocolFeatures(within(t), protocolFeatures)) // what a program acks that knows more than the library
	back := <-files
	defer back.Close()
	const sharedObjectAdd = 6
	uuid := []byte("0123456789abcdef")
	_, err = back.Write(message(sharedObjectAdd, needReply, uuid))
	must(t, err)
	eventually(t, "the callback is called", func() bool {
		_, err := m.Dispatch()
		must(t, err)
		return len(asked) > 0
	})
	if r := <-asked; r.ID != sharedObjectAdd || !bytes.Equal(r.Payload, uuid) || r.Token == 0 {
		t.Fatalf("%+v", r)
	}
	reply := make([]byte, 20)
	_, err = io.ReadFull(back, reply)
	must(t, err)
	if binary.LittleEndian.Uint64(reply[12:]) == 0 {
		t.Fatal("what was refused was granted")
	}
}
