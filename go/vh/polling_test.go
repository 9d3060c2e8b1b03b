// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func TestABackEndThatPollsWantsNoKicks(t *testing.T) {
	m, s := pairWith(t, ram(t), &vh.SlaveOpts{PollUS: vh.PollAlways})
	serve(t, s)
	b := blk(t, m)
	writtenAndRead(t, b)
	stats, err := s.Stats()
	must(t, err)
	if stats.QueueKicks > 2 { // sent before it said that it wants none
		t.Fatal(stats.QueueKicks)
	}
}

func TestAWaitIsEndedByWake(t *testing.T) {
	s, err := vh.NewSlave(ram(t), nil)
	must(t, err)
	defer s.Close()
	woken := make(chan error)
	go func() { woken <- s.Wait(within(t)) }()
	must(t, s.Wake())
	must(t, <-woken)
	_, err = s.Dispatch()
	must(t, err)
}
