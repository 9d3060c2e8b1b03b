// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Send one request to a device of any kind, with that text to read and room for 64 bytes to write: ask SOCKET [TEXT]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func ask(ctx context.Context, path, text string) ([]byte, error) {
	m, err := vh.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	d, err := vh.NewDriver(ctx, m, nil)
	if err != nil {
		return nil, err
	}
	memory, err := d.Alloc(ctx, len(text)+64)
	if err != nil {
		return nil, err
	}
	if err := d.Start(ctx); err != nil {
		return nil, err
	}
	q, err := d.Queue(0)
	if err != nil {
		return nil, err
	}
	n := copy(memory, text)
	r := vh.Request{Writable: [][]byte{memory[n:]}}
	if n > 0 {
		r.Readable = [][]byte{memory[:n]}
	}
	if _, err := q.Submit([]vh.Request{r}); err != nil {
		return nil, err
	}
	var done [1]vh.Cpl
	for {
		if got, err := q.Reap(done[:]); err != nil || got == 1 {
			return append([]byte(nil), memory[n:n+int(done[0].Written)]...), err
		}
		if err := q.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := ask(ctx, os.Args[1], strings.Join(os.Args[2:], " "))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes: %q\n", len(answer), answer)
}
