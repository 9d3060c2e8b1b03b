// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// The least device of a kind of one's own: it answers each request with the request. echo SOCKET
package main

import (
	"context"
	"log"
	"os"

	"github.com/libvh/libvh/go/vh"
)

type echo struct{}

func (echo) OnBatch(q *vh.Queue, index, budget int) (more bool, err error) {
	return q.Each(budget, func(r *vh.Req) uint32 {
		var bytes [4096]byte
		return uint32(r.Write(bytes[:r.Read(bytes[:], 0)], 0))
	})
}

func main() {
	dev, err := vh.NewDevice(&vh.DeviceOpts{Type: 63}, echo{}) // none of virtio's; a driver has to know it
	if err != nil {
		log.Fatal(err)
	}
	s, err := vh.Listen(os.Args[1], dev)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Serve(context.Background()))
}
