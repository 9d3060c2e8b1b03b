// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package raw

import "unsafe"

// At is an address of the library's as a pointer. It is none of Go's memory, which the collector may know.
func At(addr uint64) unsafe.Pointer {
	word := uintptr(addr)
	return *(*unsafe.Pointer)(unsafe.Pointer(&word))
}

// Bytes is the piece of memory itself.
func (s *Seg) Bytes() []byte { return unsafe.Slice((*byte)(At(s.Addr)), int(s.Len)) }

func (r *Req) segs() []Seg { return unsafe.Slice((*Seg)(At(r.Segs)), int(r.NRd)+int(r.NWr)) }

// Readable are the pieces that the driver filled: guest memory, until the request is pushed or un-popped.
func (r *Req) Readable() []Seg { return r.segs()[:r.NRd] }

// Writable are the pieces that the driver waits for: guest memory, until the request is pushed or un-popped.
func (r *Req) Writable() []Seg { return r.segs()[r.NRd:] }

// Read copies readable bytes from off on to p; how many there were.
func (r *Req) Read(p []byte, off int) int {
	return walk(r.Readable(), off, len(p), func(at int, piece []byte) { copy(p[at:], piece) })
}

// Write copies p to the writable bytes from off on; how many there was room for.
func (r *Req) Write(p []byte, off int) int {
	return walk(r.Writable(), off, len(p), func(at int, piece []byte) { copy(piece, p[at:]) })
}

// Fill gives every writable byte one value. What a driver asks for may be larger than what Go can allocate.
func (r *Req) Fill(value byte) {
	for _, s := range r.Writable() {
		piece := s.Bytes()
		for i := range piece {
			piece[i] = value
		}
	}
}

// walk calls do for the pieces of n bytes from off on.
func walk(segs []Seg, off, n int, do func(at int, piece []byte)) int {
	done := 0
	for i := range segs {
		piece := segs[i].Bytes()
		if off >= len(piece) {
			off -= len(piece)
			continue
		}
		piece = piece[off:]
		off = 0
		if len(piece) > n-done {
			piece = piece[:n-done]
		}
		do(done, piece)
		if done += len(piece); done == n {
			break
		}
	}
	return done
}
