// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// mortal is vhctl over a file, in a process that can be killed and started again.
type mortal struct {
	path, disk string
	cmd        *exec.Cmd
}

func newMortal(t *testing.T) *mortal {
	p := &mortal{path: socketPath(t)}
	p.disk = filepath.Join(filepath.Dir(p.path), "disk")
	must(t, os.WriteFile(p.disk, make([]byte, 1<<20), 0o600))
	t.Cleanup(p.kill)
	p.start(t)
	return p
}

// It says in one line that it listens.
func (p *mortal) start(t *testing.T) {
	t.Helper()
	tool := os.Getenv("VH_VHCTL")
	if tool == "" {
		tool = "vhctl"
	}
	p.cmd = exec.Command(tool, "serve", "blk", "--socket", p.path, "--file", p.disk)
	said, err := p.cmd.StderrPipe()
	must(t, err)
	must(t, p.cmd.Start())
	_, err = said.Read(make([]byte, 200))
	must(t, err)
}

func (p *mortal) kill() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

func quick() *vh.Reconnect { return &vh.Reconnect{FirstMS: 1, MaxMS: 20} }

// eventKinds lists the events that there are up to now.
func eventKinds(t *testing.T, d *vh.Driver) (all []uint32) {
	t.Helper()
	for {
		event, ok, err := d.NextEvent()
		must(t, err)
		if !ok {
			return all
		}
		all = append(all, event.Kind)
	}
}

func TestScenarioReconnect(t *testing.T) {
	p := newMortal(t)
	m := dial(t, p.path)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	must(t, d.SetReconnect(quick()))
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	data := bytes.Repeat([]byte("again"), 1024)[:4096]
	_, err = b.WriteAt(data, 0)
	must(t, err)
	p.kill()
	p.start(t)
	ctx, cancel := context.WithCancel(within(t))
	served := make(chan error)
	go func() { served <- d.Serve(ctx) }()
	var seen []uint32
	eventually(t, "the session runs again", func() bool {
		seen = append(seen, eventKinds(t, d)...)
		return len(seen) > 0 && seen[len(seen)-1] == vh.EventSessionRunning
	})
	if len(seen) < 3 || seen[0] != vh.EventReconnecting || seen[len(seen)-2] != vh.EventConnected {
		t.Fatal(seen)
	}
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := make([]byte, len(data))
	_, err = b.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("another disk")
	}
	// A call that waits brings it back too.
	p.kill()
	p.start(t)
	_, err = b.ReadAt(got, 0)
	must(t, err)
	must(t, b.Close())
}

func TestASessionGivesUp(t *testing.T) {
	p := newMortal(t)
	d := driven(t, dial(t, p.path), &vh.DriverOpts{Type: vh.TypeBlk})
	must(t, d.SetReconnect(&vh.Reconnect{FirstMS: 1, MaxTries: 2}))
	p.kill()
	if err := d.Serve(within(t)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if seen := eventKinds(t, d); len(seen) == 0 || seen[len(seen)-1] != vh.EventGaveUp {
		t.Fatal(seen)
	}
}

func TestStoppingNeedNotWaitForABackEndThatIsGone(t *testing.T) {
	p := newMortal(t)
	d := driven(t, dial(t, p.path), &vh.DriverOpts{Type: vh.TypeBlk})
	must(t, d.SetReconnect(quick()))
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	defer b.Close()
	buf, err := d.Alloc(within(t), 512)
	must(t, err)
	p.kill()
	_, err = b.Submit(0, []vh.BlkIO{{Op: vh.BlkRead, Addr: vh.Addr(buf), Len: 512}})
	must(t, err)
	want(t, d.StopWithin(within(t), 0), syscall.EBUSY)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := d.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 20*time.Second { // without a context: 30
		t.Fatal(took)
	}
	must(t, d.Drop(within(t)))
	want(t, d.Drop(within(t)), syscall.EALREADY)
}

func TestRingsOfSomebodyElse(t *testing.T) {
	m, s := pair(t, device(t, newDisk()))
	serve(t, s)
	mem, err := vh.NewMemory(nil)
	must(t, err)
	must(t, mem.Alloc(0, 1<<20, 0))
	opts := &vh.DriverOpts{Features: 1 << vh.FVersion1}
	d, err := vh.NewDriverOver(within(t), m, mem, opts)
	must(t, err)
	defer d.Close()
	ring := vh.DriverRing{Num: 8, Desc: 0x1000, Driver: 0x2000, Device: 0x3000}
	must(t, d.SetRing(0, &ring, nil, nil))
	must(t, mem.Close()) // the session has it
	must(t, d.Start(within(t)))
	must(t, d.Share(within(t)))
	must(t, d.Enable(within(t), 0, false))
	must(t, d.Stop(within(t)))
	got, err := d.Ring(0)
	must(t, err)
	if got.Num != 8 || got.Device != 0x3000 || got.Base != 0 || got.Flags != vh.DriverRingOff {
		t.Fatalf("%+v", got)
	}
	if _, err := d.Alloc(within(t), 1); !errors.Is(err, syscall.EPERM) {
		t.Fatal(err)
	}
	if _, err := vh.NewDriverOver(within(t), m, nil, opts); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

// What runs inside of a front-end uses its memory, while a session over that memory begins.
func TestASessionOverMemoryThatACallbackUses(t *testing.T) {
	m, s := pair(t, device(t, newDisk()))
	serve(t, s)
	mem, err := vh.NewMemory(nil)
	must(t, err)
	must(t, mem.Alloc(0, 1<<20, 0))
	begun := make(chan error, 1)
	begin := func() {
		d, err := vh.NewDriverOver(within(t), m, mem, &vh.DriverOpts{Features: 1 << vh.FVersion1})
		if err == nil {
			err = d.Close()
		}
		begun <- err
	}
	var once sync.Once
	must(t, m.SetTrace(func(*vh.Message) {
		once.Do(func() {
			go begin()
			for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
				if _, err := mem.Regions(); err != nil {
					t.Error(err)
				}
			}
		})
	}))
	_, err = m.Features(within(t))
	must(t, err)
	must(t, <-begun)
	must(t, m.SetTrace(nil))
	must(t, mem.Close())
}
