// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func pattern(n int) []byte {
	p := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(p)
	return p
}

// writtenAndRead checks a disk with requests of all lengths.
func writtenAndRead(t *testing.T, b *vh.Blk) {
	t.Helper()
	p := pattern(600 << 10) // more than one request moves
	n, err := b.WriteAt(p, 512)
	must(t, err)
	must(t, b.Flush(within(t)))
	got := make([]byte, len(p))
	_, err = b.ReadAt(got, 512)
	must(t, err)
	if n != len(p) || !bytes.Equal(got, p) {
		t.Fatal("what was written is not what is read")
	}
	got = got[:1000]
	_, err = b.ReadAt(got, 512+777) // sectors don't matter
	must(t, err)
	if !bytes.Equal(got, p[777:1777]) {
		t.Fatal("a read that begins inside of a sector")
	}
	n, err = b.ReadAt(got, b.Size()-100)
	if n != 100 || err != io.EOF {
		t.Fatalf("at the end: %d, %v", n, err)
	}
	_, err = b.WriteAt(got[:100], 0)
	want(t, err, syscall.EINVAL)
	_, err = b.WriteAt(p[:1024], b.Size()-512)
	want(t, err, syscall.ERANGE)
}

func TestBlockDeviceInMemory(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	writtenAndRead(t, blk(t, m))
}

func TestBlockDeviceInAFile(t *testing.T) {
	f, err := os.CreateTemp("", "vh")
	must(t, err)
	defer os.Remove(f.Name())
	must(t, f.Truncate(1<<20))
	dev, err := vh.NewFile(f)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	must(t, f.Close())
	m, s := pair(t, dev)
	serve(t, s)
	writtenAndRead(t, blk(t, m))
}

func TestNullDeviceOverASocket(t *testing.T) {
	path := socketPath(t)
	dev, err := vh.NewNull(1 << 30)
	must(t, err)
	defer dev.Close()
	s, err := vh.Listen("unix:"+path, dev)
	must(t, err)
	defer s.Close()
	serve(t, s)
	m, err := vh.Dial(within(t), path)
	must(t, err)
	defer m.Close()
	kind, err := m.Kind()
	must(t, err)
	b := blk(t, m)
	if info := b.Info(); b.Size() != 1<<30 || info.BlockSize != 512 || kind != "vhost-user" {
		t.Fatalf("%s %+v", kind, info)
	}
	_, err = b.ReadAt(make([]byte, 4096), 1<<20)
	must(t, err)
}

func TestDeviceInGo(t *testing.T) {
	m, s := pair(t, device(t, newDisk()))
	serve(t, s)
	b := blk(t, m)
	got := bytes.Repeat([]byte{1}, 2048)
	_, err := b.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, make([]byte, 2048)) {
		t.Fatal("a null device has something")
	}
}

// vhctl serves a disk in another process.
func vhctl(t *testing.T, args ...string) string {
	path := socketPath(t)
	tool := os.Getenv("VH_VHCTL")
	if tool == "" {
		tool = "vhctl"
	}
	c := exec.Command(tool, append([]string{"serve", "blk", "--socket", path}, args...)...)
	c.Stderr = os.Stderr
	must(t, c.Start())
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	eventually(t, "vhctl listens", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
	return path
}

func dial(t *testing.T, path string) (m *vh.Master) {
	eventually(t, "it takes a connection", func() (ok bool) {
		var err error
		m, err = vh.Dial(within(t), path)
		return err == nil
	})
	t.Cleanup(func() { m.Close() })
	return m
}

func TestGoDrivesAnotherProcess(t *testing.T) {
	writtenAndRead(t, blk(t, dial(t, vhctl(t, "--ram", "1M"))))
}

// opened is a disk in one step, as soon as the back-end, which serves one front-end at a time, takes the connection.
func opened(t *testing.T, path string) (b *vh.Blk) {
	eventually(t, "the disk is opened", func() bool {
		var err error
		b, err = vh.OpenBlk(within(t), "unix:"+path)
		return err == nil
	})
	return b
}

func TestADiskIsOpenedInOneStep(t *testing.T) {
	path := vhctl(t, "--ram", "1M")
	for i := 0; i < 3; i++ { // each time the connection ends with the disk
		b := opened(t, path)
		writtenAndRead(t, b)
		must(t, b.Close())
		must(t, b.Close())
		_, err := b.ReadAt(make([]byte, 512), 0)
		want(t, err, os.ErrClosed)
	}
	_, err := vh.OpenBlk(within(t), path+"-nobody")
	want(t, err, syscall.ENOENT)
}

func TestADiskThatCanNotBeOpenedLeavesNoConnection(t *testing.T) {
	var mended atomic.Bool
	d := newDisk()
	d.readConfig = func() error {
		if mended.Load() {
			return nil
		}
		return syscall.EIO
	}
	path := socketPath(t)
	s, err := vh.NewSlave(device(t, d), nil)
	must(t, err)
	must(t, s.Listen(path))
	serve(t, s)
	_, err = vh.OpenBlk(within(t), path)
	want(t, err, syscall.EREMOTEIO)
	mended.Store(true)
	must(t, opened(t, path).Close())
}

func TestADeviceThatKeepsARequestIsNotWaitedForAtTheEnd(t *testing.T) {
	path := socketPath(t)
	s, err := vh.NewSlave(device(t, hungDisk()), nil)
	must(t, err)
	must(t, s.Listen(path))
	serve(t, s)
	b := opened(t, path)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = b.ReadAtContext(ctx, make([]byte, 512), 0)
	want(t, err, context.DeadlineExceeded)
	began := time.Now()
	must(t, b.Close())
	if took := time.Since(began); took > 15*time.Second { // it would be half a minute until the back-end gives up
		t.Errorf("Close took %v", took)
	}
}

func TestBackendThatDiesIsToldToWhoWaits(t *testing.T) {
	path := socketPath(t)
	s, err := vh.NewSlave(device(t, hungDisk()), nil)
	must(t, err)
	must(t, s.Listen(path))
	serve(t, s)
	b := blk(t, dial(t, path))
	failed := make(chan error)
	go func() {
		_, err := b.ReadAt(make([]byte, 512), 0)
		failed <- err
	}()
	q, err := s.Queue(0)
	must(t, err)
	eventually(t, "the request arrived", func() bool {
		stats, err := q.Stats()
		must(t, err)
		return stats.InFlight == 1
	})
	must(t, s.Close())
	want(t, <-failed, syscall.ECONNRESET)
}

// hungDisk takes requests and never completes them.
func hungDisk() *disk {
	d := newDisk()
	d.batch = func(q *vh.Queue, budget int) (bool, error) {
		_, err := q.Pop(make([]vh.Req, 8))
		return false, err
	}
	return d
}

func TestContextEndsAWaitForARequest(t *testing.T) {
	m, s := pair(t, device(t, hungDisk()))
	serve(t, s)
	b := blk(t, m)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err := b.ReadAtContext(ctx, make([]byte, 512), 0)
	want(t, err, context.DeadlineExceeded)
	must(t, m.Config(within(t), 0, make([]byte, 8))) // the connection is whole
	must(t, s.Close())                               // else the driver waits for the request
}

func TestDialWhereNobodyListens(t *testing.T) {
	_, err := vh.Dial(within(t), socketPath(t))
	want(t, err, syscall.ENOENT)
	var e *vh.Error
	if !errors.As(err, &e) || e.Code != syscall.ENOENT || e.Domain != vh.ErrorSystem || e.Queue != vh.ErrorNone ||
		!strings.Contains(e.Text, "ENOENT") || !strings.Contains(err.Error(), e.Text) {
		t.Fatalf("%+v", e)
	}
}

func TestNilIsRefused(t *testing.T) {
	ctx := within(t)
	m, _ := pair(t, ram(t))
	for what, call := range map[string]func() error{
		"device": func() error { _, err := vh.NewSlave(nil, nil); return err },
		"memory": func() error { _, err := vh.OpenQueue(nil, nil, nil, nil); return err },
		"master": func() error { _, err := vh.NewDriver(ctx, nil, nil); return err },
		"driver": func() error { _, err := vh.NewBlk(ctx, nil); return err },
		"opts":   func() error { _, err := vh.NewDevice(nil, newDisk()); return err },
		"shared": func() error { return m.SetMem(ctx, nil) },
		"file":   func() error { _, err := vh.NewFile(nil); return err },
	} {
		t.Run(what, func(t *testing.T) {
			if err := call(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EBADF) {
				t.Fatal(err)
			}
		})
	}
}

func TestANulByteIsRefused(t *testing.T) {
	_, err := vh.Dial(within(t), "/tmp/a\x00b")
	want(t, err, syscall.EINVAL)
	_, err = vh.Listen("/tmp/a\x00b", ram(t))
	want(t, err, syscall.EINVAL)
}

// mute is a listener that takes connections and says nothing.
func mute(t *testing.T) string {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return path
}

func TestDeadlineEndsAWaitForAReply(t *testing.T) {
	m, err := vh.Dial(within(t), mute(t))
	must(t, err)
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = m.Negotiate(ctx, 0)
	want(t, err, context.DeadlineExceeded)
	want(t, err, syscall.ECANCELED)
	if time.Since(start) > 5*time.Second {
		t.Fatal("it took its time")
	}
	_, err = m.Negotiate(within(t), 0) // a late reply must not be taken for the next
	want(t, err, syscall.ENOTCONN)
	want(t, m.Connect(ctx, "x"), context.DeadlineExceeded)
}

func TestWaitingForTheHandleHasADeadlineToo(t *testing.T) {
	m, err := vh.Dial(within(t), mute(t))
	must(t, err)
	defer m.Close()
	first, cancel := context.WithCancel(within(t))
	over := make(chan error, 1)
	go func() {
		_, err := m.Negotiate(first, 0)
		over <- err
	}()
	time.Sleep(10 * time.Millisecond)
	ctx, cancelSecond := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancelSecond()
	_, err = m.Features(ctx)
	want(t, err, context.DeadlineExceeded)
	cancel()
	want(t, <-over, context.Canceled)
}

func TestTimeoutOfTheOptions(t *testing.T) {
	m, err := vh.NewMaster(&vh.MasterOpts{TimeoutMS: 30}, nil)
	must(t, err)
	defer m.Close()
	must(t, m.Connect(within(t), mute(t)))
	_, err = m.Negotiate(within(t), 0)
	want(t, err, syscall.ETIMEDOUT)
}

func TestSignalsDoNotEndAWait(t *testing.T) {
	m, s := pair(t, ram(t))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				syscall.Kill(os.Getpid(), syscall.SIGWINCH)
				time.Sleep(200 * time.Microsecond)
			}
		}
	}()
	time.AfterFunc(200*time.Millisecond, func() { serve(t, s) })
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	writtenAndRead(t, blk(t, m))
}

func TestCloseEndsAWait(t *testing.T) {
	m, err := vh.Dial(within(t), mute(t))
	must(t, err)
	time.AfterFunc(30*time.Millisecond, func() { m.Close() })
	for i := 0; i < 2; i++ {
		_, err = m.Negotiate(context.Background(), 0)
		want(t, err, os.ErrClosed)
	}
}

func TestServeEnds(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(*vh.Slave, context.CancelFunc) error
		want error
	}{
		"context": {func(_ *vh.Slave, cancel context.CancelFunc) error { cancel(); return nil }, context.Canceled},
		"close":   {func(s *vh.Slave, _ context.CancelFunc) error { return s.Close() }, os.ErrClosed},
		"stop":    {func(s *vh.Slave, _ context.CancelFunc) error { return s.Stop() }, syscall.ESHUTDOWN},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := pair(t, ram(t))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			over := make(chan error, 1)
			go func() { over <- s.Serve(ctx) }()
			time.Sleep(10 * time.Millisecond)
			must(t, end.do(s, cancel))
			want(t, <-over, end.want)
		})
	}
}

func TestManyGoroutinesOnOneHandle(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	var all sync.WaitGroup
	for i := 0; i < 16; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 20; j++ {
				if _, err := m.Features(within(t)); err != nil {
					t.Error(err)
				}
				if _, err := s.Stats(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
}

func TestRawMessages(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	ticket, err := m.Submit(&vh.RawRequest{ID: 1})
	must(t, err)
	reply, err := m.Finish(within(t), ticket)
	must(t, err)
	features, err := m.Features(within(t))
	must(t, err)
	if len(reply.Payload) != 8 || reply.Payload[3] != byte(features>>24) || len(reply.Files) != 0 {
		t.Fatalf("%+v, features %#x", reply, features)
	}
	_, err = m.Finish(within(t), ticket)
	want(t, err, syscall.ENOENT)
	_, err = m.Submit(getConfig) // not negotiated
	want(t, err, syscall.EOPNOTSUPP)
}

func TestAReplyIsStillExpectedAfterADeadline(t *testing.T) {
	m, s := pair(t, ram(t))
	ticket, err := m.Submit(&vh.RawRequest{ID: 1})
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = m.Finish(ctx, ticket)
	want(t, err, context.DeadlineExceeded)
	serve(t, s)
	_, err = m.Finish(within(t), ticket)
	must(t, err)
}

func TestEventsLogAndTrace(t *testing.T) {
	m, s := pair(t, ram(t))
	var mu sync.Mutex
	var lines, names []string
	must(t, s.SetLogger(vh.LogDebug, func(level uint32, text string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, text)
	}))
	must(t, m.SetTrace(func(message *vh.Message) {
		line, err := message.JSON()
		if err != nil || int(message.PayloadSize) != len(message.Bytes()) {
			t.Error(err, line)
		}
		names = append(names, vh.MessageName(message.Channel, message.Request))
	}))
	serve(t, s)
	acked, err := m.Negotiate(within(t), 1<<vh.FRingEventIdx)
	must(t, err)
	if acked&(1<<vh.FRingEventIdx) == 0 || vh.FeatureName(vh.TypeBlk, vh.FRingEventIdx) != "RING_EVENT_IDX" {
		t.Fatalf("%#x", acked)
	}
	must(t, m.SetTrace(nil))
	if !strings.Contains(strings.Join(names, " "), "SET_FEATURES") {
		t.Fatal(names)
	}
	eventually(t, "the back-end tells what was negotiated", func() bool {
		event, ok, err := s.NextEvent()
		must(t, err)
		return ok && event.Kind == vh.EventNegotiated && vh.EventName(event.Kind) == "negotiated"
	})
	_, err = m.Submit(&vh.RawRequest{ID: 200, Reply: vh.ReplyNone})
	must(t, err)
	eventually(t, "a message that nobody knows is in the log", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(lines) > 0
	})
}

func TestServerModeOfAFrontend(t *testing.T) {
	path := socketPath(t)
	m, err := vh.NewMaster(nil, nil)
	must(t, err)
	defer m.Close()
	must(t, m.Listen(path))
	s, err := vh.NewSlave(ram(t), nil)
	must(t, err)
	defer s.Close()
	conn, err := net.Dial("unix", path)
	must(t, err)
	f, err := conn.(*net.UnixConn).File()
	must(t, err)
	must(t, s.Adopt(f))
	f.Close()
	conn.Close()
	serve(t, s)
	must(t, m.Accept(within(t)))
	writtenAndRead(t, blk(t, m))
}

func TestScenarioRingReset(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	defer b.Close()
	features, err := d.Features()
	must(t, err)
	if features&(1<<vh.FRingReset) == 0 {
		t.Fatalf("%#x", features)
	}
	for i := 0; i < 3; i++ {
		writtenAndRead(t, b)
		must(t, d.ResetQueue(within(t), 0))
	}
	writtenAndRead(t, b)
	want(t, d.ResetQueue(within(t), 99), syscall.ENOENT)
}
