// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// A block device of one gigabyte that holds nothing, on a vhost-user socket: null SOCKET
package main

import (
	"context"
	"encoding/binary"
	"log"
	"os"

	"github.com/libvh/libvh/go/vh"
)

type null struct{}

func (null) ReadConfig(offset uint32, buf []byte, _ vh.Later) error {
	config := binary.LittleEndian.AppendUint64(nil, 1<<30/vh.BlkSector)
	copy(buf, append(config, make([]byte, vh.ConfigMax)...)[offset:])
	return nil
}

func (null) OnBatch(q *vh.Queue, index, budget int) (more bool, err error) {
	return q.Each(budget, func(r *vh.Req) uint32 {
		r.Fill(0) // the last byte is the status, and 0 is OK
		return uint32(r.WrLen)
	})
}

func main() {
	dev, err := vh.NewDevice(&vh.DeviceOpts{Type: vh.TypeBlk}, null{})
	if err != nil {
		log.Fatal(err)
	}
	s, err := vh.Listen(os.Args[1], dev)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Serve(context.Background()))
}
