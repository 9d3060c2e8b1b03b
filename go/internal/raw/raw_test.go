// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package raw

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// The details have to be those of the very call, whatever thread the next one runs on.
func TestDetailsComeWithTheCall(t *testing.T) {
	var all sync.WaitGroup
	for i := 0; i < 64; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			var m *Mem
			if err := MemNew(nil, &m); err != nil {
				t.Error(err)
				return
			}
			defer MemFree(m)
			for j := 0; j < 300; j++ {
				gpa := GPA(i)<<32 | GPA(j)<<12
				if err := MemAlloc(m, gpa, 0, 0); !errors.Is(err, syscall.EINVAL) {
					t.Error(err)
				}
				runtime.Gosched()
				var s *Slave
				err := SlaveListen(s, fmt.Sprintf("/%d/%d", i, j))
				runtime.Gosched()
				var e *Details
				if !errors.As(err, &e) || !strings.Contains(e.Text, "vh_slave_listen") {
					t.Error(err)
				}
			}
		}(i)
	}
	all.Wait()
}

func TestFailureWithoutMemoryIsItsErrno(t *testing.T) {
	err := rcError(uintptr(syscall.ENOMEM) << 1)
	if !errors.Is(err, syscall.ENOMEM) {
		t.Fatal(err)
	}
	if n, err := countOf(0).Get(); n != 0 || err == nil {
		t.Fatal(n, err) // no count and no failure is a bug, never a success
	}
}

func TestWidths(t *testing.T) {
	var m *Mem
	if err := MemNew(nil, &m); err != nil {
		t.Fatal(err)
	}
	defer MemFree(m)
	const gpa = 1<<63 | 0xfffff000
	if err := MemAlloc(m, gpa, 4096, 0); err != nil {
		t.Fatal(err)
	}
	var regions [2]Region
	n, err := MemRegions(m, regions[:])
	if n != 1 || err != nil || regions[0].GPA != gpa {
		t.Fatal(n, err, regions[0])
	}
	if EventName(0xfffffffe) != "" || ErrorName(-int32(syscall.EPROTO)) != "EPROTO" {
		t.Fatal("names")
	}
}

func TestBuffersInsideOfOtherThings(t *testing.T) {
	thing := struct {
		p    *int
		buf  [64]byte
		opts MemOpts
		seg  Region
	}{p: new(int), seg: Region{GPA: 1}}
	var m *Mem
	if err := MemNew(&thing.opts, &m); err != nil {
		t.Fatal(err)
	}
	defer MemFree(m)
	if err := MemRemove(m, &thing.seg); !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
	if err := MasterGetConfig(nil, 0, thing.buf[:]); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	if unsafe.Sizeof(Req{}) != 64 {
		t.Fatal("size")
	}
}
