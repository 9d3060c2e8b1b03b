// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// The ring is that of queue_cost's shape s3: 16 readable, 4079 and 1 writable bytes in an indirect table.
const (
	benchDesc, benchAvail, benchUsed = 0, 0x4000, 0x8000
	benchTables, benchData           = 0x10000, 0x200000
	samples                          = 21
)

// hand is the driver: a few lines over the same memory, whose time does not count.
type hand struct {
	ram   []byte
	queue *vh.Queue
	next  uint16
}

func newHand(b *testing.B) *hand {
	mem, err := vh.NewMemory(nil)
	check(b, err)
	check(b, mem.Alloc(0, memoryLen, 0))
	snap, err := mem.Snapshot()
	check(b, err)
	h := &hand{}
	h.ram, err = snap.Slice(0, memoryLen, vh.MemRead|vh.MemWrite)
	check(b, err)
	h.queue, err = vh.OpenQueue(mem, &vh.QueueOpts{Role: vh.QueueDevice, Num: ringNum, Desc: benchDesc, Driver: benchAvail,
		Device: benchUsed, Features: 1<<vh.FVersion1 | 1<<vh.FRingIndirectDesc}, nil, nil)
	check(b, err)
	b.Cleanup(func() {
		h.queue.Close()
		snap.Close()
		mem.Close()
	})
	for i := 0; i < ringNum; i++ {
		table, data := benchTables+i*64, benchData+i*4096
		h.desc(benchDesc+16*i, table, 48, 4, 0)
		h.desc(table, data, 16, 1, 1)
		h.desc(table+16, data+16, 4079, 3, 2)
		h.desc(table+32, data+4095, 1, 2, 0)
	}
	h.ram[benchAvail] = 1 // no interrupts: the decision is measured, the system call is not
	return h
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func (h *hand) desc(at, addr, length int, flags, next uint16) {
	le := binary.LittleEndian
	le.PutUint64(h.ram[at:], uint64(addr))
	le.PutUint32(h.ram[at+8:], uint32(length))
	le.PutUint16(h.ram[at+12:], flags)
	le.PutUint16(h.ram[at+14:], next)
}

func (h *hand) offer(n int) {
	for ; n > 0; n-- {
		binary.LittleEndian.PutUint16(h.ram[benchAvail+4+2*int(h.next%ringNum):], h.next%ringNum)
		h.next++
	}
	binary.LittleEndian.PutUint16(h.ram[benchAvail+2:], h.next)
}

// perRequest is the least and the median of some samples, in ns.
func perRequest(b *testing.B, h *hand, batch, requests int, touch func(*vh.Req)) (least, median float64) {
	reqs, cpls := make([]vh.Req, batch), make([]vh.Cpl, batch)
	ns, rounds := make([]float64, samples), requests/samples/batch+1
	for k := range ns {
		var total time.Duration
		for r := 0; r < rounds; r++ {
			h.offer(batch)
			start := time.Now()
			n, err := h.queue.Pop(reqs)
			for i := range reqs[:n] {
				if touch != nil {
					touch(&reqs[i])
				}
				cpls[i] = vh.Cpl{Token: reqs[i].Token, Written: 1}
			}
			if err == nil {
				err = h.queue.Push(cpls[:n])
			}
			total += time.Since(start)
			if n != batch || err != nil {
				b.Fatal(n, err)
			}
		}
		ns[k] = float64(total) / float64(rounds*batch)
	}
	sort.Float64s(ns)
	return ns[0], ns[samples/2]
}

// readHeaderAndSayOK is what a device does at least.
func readHeaderAndSayOK(r *vh.Req) {
	var header [16]byte
	r.Read(header[:], 0)
	status := r.Writable()[r.NWr-1]
	status.Bytes()[0] = 0
}

func crossing() float64 {
	const n = 100000
	start := time.Now()
	for i := 0; i < n; i++ {
		vh.Version()
	}
	return float64(time.Since(start)) / n
}

// inC is what queue_cost measures, in the same minute.
func inC(b *testing.B, program string, batch, requests int) float64 {
	out, err := exec.Command(program, "s3", "1", strconv.Itoa(batch), strconv.Itoa(requests/batch+samples)).Output()
	check(b, err)
	var got struct {
		Least float64 `json:"ns_min"`
	}
	check(b, json.Unmarshal(out, &got))
	return got.Least
}

// BenchmarkCost prints a JSON line for each batch size: what pop and push cost for each request. With VH_QUEUE_COST, the C
// program that measures the same, each line has the ratio. VH_PASSES is how often all is measured, 15 without it.
//
//	VH_QUEUE_COST=build/tests/bench/queue_cost go test ./vh -run '^$' -bench Cost -benchtime 1x
func BenchmarkCost(b *testing.B) {
	const requests = 60000
	program, passes := os.Getenv("VH_QUEUE_COST"), 15
	if n, err := strconv.Atoi(os.Getenv("VH_PASSES")); err == nil {
		passes = n
	}
	fmt.Printf("\n{\"mode\": \"go\", \"crossing_ns\": %.1f}\n", crossing())
	h := newHand(b)
	for _, batch := range []int{1, 16, 64, 256} {
		line := map[string]any{"mode": "go", "batch": batch}
		keep := func(key string, ns float64) {
			if old, ok := line[key].(float64); !ok || ns < old { // what else the machine does is in neither
				line[key] = ns
			}
		}
		for i := 0; i < passes; i++ {
			least, median := perRequest(b, h, batch, requests, nil)
			keep("untouched_ns", least)
			keep("untouched_median_ns", median)
			least, _ = perRequest(b, h, batch, requests/4, readHeaderAndSayOK)
			keep("touched_ns", least)
			if program != "" {
				keep("c_ns", inC(b, program, batch, requests))
			}
		}
		if c, ok := line["c_ns"].(float64); ok {
			line["ratio"] = line["untouched_ns"].(float64) / c
		}
		text, err := json.Marshal(line)
		check(b, err)
		fmt.Println(string(text))
	}
}
