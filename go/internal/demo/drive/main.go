// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Drive a block device from Go, with the words of `vhctl io blk`, so that one exercise serves both:
// drive TARGET read|write|verify [--offset N] [--size N] [--seed N] [--json]
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// pattern is the seeded data of docs/vhctl.md at an offset, both multiples of 8.
func pattern(seed uint64, offset, size int64) []byte {
	data := make([]byte, size)
	for i := int64(0); i < size; i += 8 {
		z := (seed + uint64(offset+i)/8 + 1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(data[i:], z^z>>31)
	}
	return data
}

func open(ctx context.Context, target string) (*vh.Master, *vh.Blk, error) {
	m, err := vh.Dial(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	d, err := vh.NewDriver(ctx, m, &vh.DriverOpts{Type: vh.TypeBlk})
	if err == nil {
		err = d.Start(ctx)
	}
	if err != nil {
		return m, nil, err
	}
	disk, err := vh.NewBlk(ctx, d)
	return m, disk, err
}

type job struct {
	step         string
	offset, size int64
	seed         uint64
	seeded       bool
}

func (j *job) run(ctx context.Context, disk *vh.Blk) (data []byte, err error) {
	if j.size == 0 {
		j.size = disk.Size() - j.offset
	}
	expected := pattern(j.seed, j.offset, j.size)
	if j.step != "read" {
		if _, err := disk.WriteAtContext(ctx, expected, j.offset); err != nil {
			return nil, err
		}
		if err := disk.Flush(ctx); err != nil || j.step == "write" {
			return expected, err
		}
	}
	data = make([]byte, j.size)
	if _, err := disk.ReadAtContext(ctx, data, j.offset); err != nil {
		return nil, err
	}
	if j.seeded && !bytes.Equal(data, expected) {
		return nil, errors.New("what was read is not the pattern")
	}
	return data, nil
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: drive TARGET read|write|verify [--offset N] [--size N] [--seed N] [--json]")
	}
	j := job{step: os.Args[2]}
	words := flag.NewFlagSet("drive", flag.ExitOnError)
	words.Int64Var(&j.offset, "offset", 0, "bytes")
	words.Int64Var(&j.size, "size", 0, "bytes; 0 = to the end")
	words.Uint64Var(&j.seed, "seed", 0, "of the data")
	json := words.Bool("json", false, "tell the result as JSON")
	words.Parse(os.Args[3:])
	words.Visit(func(f *flag.Flag) { j.seeded = j.seeded || f.Name == "seed" })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, disk, err := open(ctx, os.Args[1])
	var data []byte
	if err == nil {
		data, err = j.run(ctx, disk)
	}
	if m != nil {
		m.Close()
	}
	if err != nil {
		log.Fatal(err)
	}
	if *json {
		fmt.Printf("{\"bytes\": %d, \"sha256\": \"%x\"}\n", len(data), sha256.Sum256(data))
	}
}
