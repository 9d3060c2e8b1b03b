// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// A block device on a file whose requests are all handled in Go: device SOCKET FILE
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/libvh/libvh/go/vh"
)

// The status of a request (virtio 1.2 section 5.2.6).
const (
	statusOK          = 0
	statusIOErr       = 1
	statusUnsupported = 2
)

const (
	queues = 2
	header = 16
	most   = 16 << 20 // bytes in a request: what a driver only says allocates no more
)

type disk struct {
	file     *os.File
	dev      *vh.Device
	capacity int64 // bytes
}

// ReadConfig gives the capacity and the number of queues of struct virtio_blk_config.
func (d *disk) ReadConfig(offset uint32, buf []byte, _ vh.Later) error {
	var config [vh.ConfigMax]byte
	binary.LittleEndian.PutUint64(config[0:], uint64(d.capacity/vh.BlkSector))
	binary.LittleEndian.PutUint16(config[34:], queues)
	copy(buf, config[offset:])
	return nil
}

func (d *disk) OnBatch(q *vh.Queue, index, budget int) (more bool, err error) {
	return q.Each(budget, func(r *vh.Req) uint32 {
		var head [header]byte
		if r.Read(head[:], 0) < header || r.WrLen == 0 || r.RdLen+r.WrLen > most {
			d.dev.Failed(index, syscall.EPROTO)
			return 0
		}
		room := int(r.WrLen) - 1 // the last writable byte is the status
		at := int64(binary.LittleEndian.Uint64(head[8:])) * vh.BlkSector
		status, err := d.serve(r, binary.LittleEndian.Uint32(head[:]), at, room)
		if err != nil {
			d.dev.Failed(index, err)
		}
		r.Write([]byte{status}, room)
		return uint32(r.WrLen)
	})
}

func (d *disk) serve(r *vh.Req, kind uint32, at int64, room int) (status byte, err error) {
	switch kind {
	case vh.BlkRead:
		data := make([]byte, room)
		_, err = d.file.ReadAt(data, at)
		r.Write(data, 0)
	case vh.BlkWrite:
		data := make([]byte, r.RdLen-header)
		r.Read(data, header)
		_, err = d.file.WriteAt(data, at)
	case vh.BlkFlush:
		err = d.file.Sync()
	case vh.BlkGetID:
		id := make([]byte, room)
		copy(id, "go")
		r.Write(id, 0)
	default:
		return statusUnsupported, nil
	}
	if err != nil {
		return statusIOErr, err
	}
	return statusOK, nil
}

func run(ctx context.Context, socket, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	d := &disk{file: file, capacity: info.Size()}
	opts := vh.DeviceOpts{Type: vh.TypeBlk, Features: 1<<vh.BlkFFlush | 1<<vh.BlkFMQ, MaxQueues: queues}
	if d.dev, err = vh.NewDevice(&opts, d); err != nil {
		return err
	}
	defer d.dev.Close()
	s, err := vh.Listen(socket, d.dev)
	if err != nil {
		return err
	}
	defer s.Close()
	if err = s.Serve(ctx); errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
