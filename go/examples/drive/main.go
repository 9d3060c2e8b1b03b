// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Write and read the first sector of a vhost-user block device, whoever serves it: drive SOCKET
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func drive(ctx context.Context, path string) error {
	disk, err := vh.OpenBlk(ctx, path)
	if err != nil {
		return err
	}
	defer disk.Close()
	sector := make([]byte, vh.BlkSector)
	copy(sector, "written by Go")
	if _, err := disk.WriteAtContext(ctx, sector, 0); err != nil {
		return err
	}
	if _, err := disk.ReadAtContext(ctx, sector, 0); err != nil {
		return err
	}
	fmt.Printf("a disk of %d bytes, which begins with %q\n", disk.Size(), sector[:13])
	return nil
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := drive(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
