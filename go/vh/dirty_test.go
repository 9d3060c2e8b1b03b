// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"reflect"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func taken(t *testing.T, log *vh.Dirty) []vh.GPA {
	t.Helper()
	pages := make([]vh.GPA, 64)
	n, err := log.Take(0, pages)
	must(t, err)
	return pages[:n]
}

func TestADirtyLogHasWhatAQueueWrote(t *testing.T) {
	r := newRings(t, 0)
	log, err := vh.NewDirty(memoryLen)
	must(t, err)
	defer log.Close()
	must(t, r.device.SetDirty(log, vh.QueueLogUsed, 0x20000))
	r.submit(t, 1)
	reqs := make([]vh.Req, 1)
	_, err = r.device.Pop(reqs)
	must(t, err)
	must(t, r.device.Push([]vh.Cpl{{Token: reqs[0].Token, Written: 64}}))
	if got := taken(t, log); !reflect.DeepEqual(got, []vh.GPA{0x20000, buffers}) {
		t.Fatal(got)
	}
	must(t, r.device.Mark(r.buffer(t, 5*vh.DirtyPage, 1)))
	if got := taken(t, log); !reflect.DeepEqual(got, []vh.GPA{buffers + 5*vh.DirtyPage}) {
		t.Fatal(got)
	}
	must(t, r.device.SetDirty(nil, 0, 0))
	must(t, r.device.Mark(r.buffer(t, 0, 1)))
	must(t, log.Mark(4095, 2))
	if got := taken(t, log); !reflect.DeepEqual(got, []vh.GPA{0, vh.DirtyPage}) {
		t.Fatal(got)
	}
	want(t, log.Mark(memoryLen, 1), syscall.ERANGE)
	info, err := log.Info()
	must(t, err)
	if info.Lost != 1 || info.Pages != memoryLen/vh.DirtyPage {
		t.Fatalf("%+v", info)
	}
	f, err := log.File()
	must(t, err)
	defer f.Close()
	same, err := vh.OpenDirty(f, 0, info.Len)
	must(t, err)
	defer same.Close()
	must(t, same.Mark(0, 1))
	if got := taken(t, log); len(got) != 1 {
		t.Fatal(got)
	}
}

func TestADriverHasItsDeviceLog(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	d, err := vh.NewDriver(within(t), m, nil)
	must(t, err)
	defer d.Close()
	log, err := vh.NewDirty(1 << 30)
	must(t, err)
	defer log.Close()
	must(t, d.SetDirty(within(t), log))
	must(t, d.Start(within(t)))
	must(t, d.Stop(within(t)))
	if len(taken(t, log)) == 0 { // the wish for kicks, in the ring
		t.Fatal("nothing was logged")
	}
	must(t, d.SetDirty(within(t), nil))
	must(t, d.Start(within(t)))
	must(t, d.Stop(within(t)))
	if got := taken(t, log); len(got) != 0 {
		t.Fatal(got)
	}
}
