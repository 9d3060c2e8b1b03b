// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/libvh/libvh/go/launch"
)

// The build's own one.
var vhctl = os.Getenv("VH_VHCTL")

func serve(ctx context.Context) error {
	b, err := launch.Start(ctx, launch.Command{Words: []string{vhctl, "serve", "blk", "--ram", "16M"}})
	if errors.Is(err, launch.Died) {
		return err // the text has its last words
	} else if err != nil {
		return err
	}
	defer b.Close() // SIGTERM, a grace, SIGKILL; the socket goes
	conn, err := launch.Connect(ctx, b.Path())
	if err != nil {
		return err
	}
	defer conn.Close()
	select {
	case <-b.Done():
		return b.Err()
	default:
		fmt.Println("it runs")
	}
	return nil
}

func Example() {
	if err := serve(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: it runs
}
