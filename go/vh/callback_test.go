// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func TestPanicOfACallbackGoesOnFromServe(t *testing.T) {
	type cause struct{ n int }
	value := &cause{1}
	d := newDisk()
	d.readConfig = func() error { panic(value) }
	m, s := pair(t, device(t, d))
	result := serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	want(t, m.Config(within(t), 0, make([]byte, 8)), syscall.EREMOTEIO)
	if got := served(t, result); got != any(value) {
		t.Fatalf("Serve ended with %v", got)
	}
	d.readConfig = nil // the connection and the handle are whole
	serve(t, s)
	must(t, m.Config(within(t), 0, make([]byte, 8)))
}

func TestPanicWithNilIsAPanic(t *testing.T) {
	d := newDisk()
	d.readConfig = func() error { panic(nil) }
	m, s := pair(t, device(t, d))
	_, err := negotiated(t, m, s)
	must(t, err)
	ticket, err := m.Submit(getConfig)
	must(t, err)
	returned := false
	func() {
		defer func() { recover() }()
		for end := time.Now().Add(patience); time.Now().Before(end); {
			s.Dispatch()
		}
		returned = true
	}()
	if returned {
		t.Fatal("no panic")
	}
	d.readConfig = nil
	serve(t, s)
	reply, err := m.Finish(within(t), ticket)
	must(t, err)
	if len(reply.Payload) != 0 {
		t.Fatalf("a config of %d bytes", len(reply.Payload))
	}
}

// getConfig asks for 8 bytes of config space.
var getConfig = &vh.RawRequest{ID: 24, Payload: append([]byte{0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8)...)}

// negotiated negotiates, with the back-end served meanwhile.
func negotiated(t *testing.T, m *vh.Master, s *vh.Slave) (uint64, error) {
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx)
	}()
	acked, err := m.Negotiate(within(t), 0)
	cancel()
	<-done
	return acked, err
}

func TestErrorOfACallbackIsTheSameObject(t *testing.T) {
	cause := errors.New("the disk is on fire")
	d := newDisk()
	d.readConfig = func() error { return cause }
	m, s := pair(t, device(t, d))
	result := serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	want(t, m.Config(within(t), 0, make([]byte, 8)), syscall.EREMOTEIO)
	if got := served(t, result); got != any(cause) {
		t.Fatalf("Serve ended with %v", got)
	}
}

func TestErrnoOfACallbackIsJustTheAnswer(t *testing.T) {
	m, s := pair(t, device(t, newDisk()))
	result := serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	want(t, m.SetConfig(within(t), 0, []byte{1}, vh.ConfigWrite), syscall.EREMOTEIO)
	must(t, m.Config(within(t), 0, make([]byte, 8)))
	select {
	case got := <-result:
		t.Fatalf("Serve ended with %v", got)
	default:
	}
}

func TestGoexitInACallbackEndsTheHandle(t *testing.T) {
	d := newDisk()
	d.readConfig = func() error { runtime.Goexit(); return nil }
	m, s := pair(t, device(t, d))
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.Serve(within(t))
	}()
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	_, err = m.Submit(getConfig)
	must(t, err)
	<-over
	_, err = s.Dispatch()
	want(t, err, vh.ErrGoexit)
	want(t, s.Close(), vh.ErrGoexit)
	for i := 0; i < 100; i++ { // the thread that it ran on, and those after, are fine
		runtime.Gosched()
		if _, err := vh.NewMemory(&vh.MemOpts{MaxRegions: 1 << 30}); err == nil {
			t.Fatal("no error")
		}
	}
}

func TestAnswerLater(t *testing.T) {
	d, tokens := newDisk(), make(chan vh.Later, 1)
	d.writeConfig = func(later vh.Later) error {
		tokens <- later
		return vh.ErrLater
	}
	dev := device(t, d)
	m, s := pair(t, dev)
	serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	for _, answer := range []error{nil, syscall.EROFS} {
		go func() {
			if err := dev.Finish(<-tokens, answer); err != nil {
				t.Error(err)
			}
		}()
		err := m.SetConfig(within(t), 0, []byte{1}, vh.ConfigWrite)
		if answer == nil {
			must(t, err)
		} else {
			want(t, err, syscall.EREMOTEIO)
		}
	}
	want(t, dev.Finish(12345, nil), syscall.ESTALE)
}

func TestACallbackCallsItsOwnHandles(t *testing.T) {
	var s *vh.Slave
	var dev *vh.Device
	d, called := newDisk(), make(chan error, 10)
	d.readConfig = func() error {
		_, err := s.Stats()
		called <- err
		called <- dev.ConfigChanged()
		return nil
	}
	dev = device(t, d)
	m, slave := pair(t, dev)
	s = slave
	serve(t, s)
	b := blk(t, m) // a ring has to run before news of config space is told
	for len(called) > 0 {
		<-called
	}
	must(t, m.Config(within(t), 0, make([]byte, 8)))
	must(t, <-called)
	must(t, <-called)
	if b.Size() != 128*vh.BlkSector {
		t.Fatalf("%d bytes", b.Size())
	}
	eventually(t, "the front-end hears of it", func() bool {
		_, err := m.Dispatch()
		must(t, err)
		event, ok, err := m.NextEvent()
		must(t, err)
		return ok && event.Kind == vh.EventConfigChanged
	})
}

func TestCloseInsideOfACallback(t *testing.T) {
	var s *vh.Slave
	d := newDisk()
	d.readConfig = func() error { return s.Close() }
	dev := device(t, d)
	m, slave := pair(t, dev)
	s = slave
	result := serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	must(t, m.Config(within(t), 0, make([]byte, 8))) // it takes effect when the call is over
	if err, _ := served(t, result).(error); !errors.Is(err, errClosed) {
		t.Fatalf("Serve ended with %v", err)
	}
}

func TestDestroyComesOnce(t *testing.T) {
	d := newDisk()
	if _, err := vh.NewDevice(&vh.DeviceOpts{MaxQueues: 100000}, d); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	closedOnce(t, d, "when a device is refused")

	dev, err := vh.NewDevice(&vh.DeviceOpts{}, d)
	must(t, err)
	must(t, dev.Close())
	closedOnce(t, d, "when it is closed")
	must(t, dev.Close())

	dev, err = vh.NewDevice(&vh.DeviceOpts{}, d)
	must(t, err)
	s, err := vh.NewSlave(dev, nil)
	must(t, err)
	must(t, dev.Close())
	if len(d.closed) != 0 {
		t.Fatal("a device that is attached went")
	}
	must(t, s.Close())
	closedOnce(t, d, "when its slave goes")
}

func closedOnce(t *testing.T, d *disk, when string) {
	t.Helper()
	if len(d.closed) != 1 {
		t.Fatalf("%d destroys %s", len(d.closed), when)
	}
	<-d.closed
}

func TestAPanicOfDestroyGoesOnFromClose(t *testing.T) {
	dev, err := vh.NewDevice(&vh.DeviceOpts{}, badEnd{})
	must(t, err)
	defer func() {
		if value := recover(); value != "bad end" {
			t.Fatalf("Close panicked with %v", value)
		}
		must(t, dev.Close())
	}()
	dev.Close()
}

type badEnd struct{}

func (badEnd) Close() error { panic("bad end") }

func TestWhatIsForgottenIsFreed(t *testing.T) {
	d := newDisk()
	func() {
		dev, err := vh.NewDevice(&vh.DeviceOpts{}, d)
		must(t, err)
		s, err := vh.NewSlave(dev, nil)
		must(t, err)
		must(t, s.Listen(socketPath(t)))
	}()
	eventually(t, "the collector finds the slave, then its device", func() bool {
		runtime.GC()
		return len(d.closed) == 1
	})
}
