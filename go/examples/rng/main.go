// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// An entropy device (virtio 1.2 section 5.4) on a vhost-user socket: rng SOCKET
package main

import (
	"context"
	"crypto/rand"
	"log"
	"os"

	"github.com/libvh/libvh/go/vh"
)

type rng struct{}

func (rng) OnBatch(q *vh.Queue, index, budget int) (more bool, err error) {
	return q.Each(budget, func(r *vh.Req) uint32 {
		var bytes [256]byte // the driver asks again for the rest
		rand.Read(bytes[:])
		return uint32(r.Write(bytes[:], 0))
	})
}

func main() {
	dev, err := vh.NewDevice(&vh.DeviceOpts{Type: 4}, rng{}) // of the types that virtio has
	if err != nil {
		log.Fatal(err)
	}
	s, err := vh.Listen(os.Args[1], dev)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Serve(context.Background()))
}
