// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// kinds is a device of every kind.
type kinds struct {
	mac      []byte
	mtu      uint32
	sessions map[int64]vh.CryptoSession
	later    chan vh.Later
	display  *os.File
}

func (k *kinds) SendRARP(mac []byte, _ vh.Later) error {
	k.mac = append([]byte{}, mac...)
	return nil
}

func (k *kinds) SetMTU(mtu uint32, _ vh.Later) error {
	k.mtu = mtu
	return nil
}

func (k *kinds) CreateCryptoSession(s *vh.CryptoSession, later vh.Later) (int32, error) {
	if s.Algo == 98 {
		k.later <- later
		return 0, vh.ErrLater
	}
	if s.Algo == 99 {
		return 0, syscall.ENOTSUP
	}
	kept := *s
	kept.Key, kept.AuthKey = append([]byte{}, s.Key...), append([]byte{}, s.AuthKey...)
	k.sessions[5] = kept
	return 5, nil
}

func (k *kinds) CloseCryptoSession(number int64, _ vh.Later) error {
	if _, ok := k.sessions[number]; !ok {
		return syscall.ENOENT
	}
	delete(k.sessions, number)
	return nil
}

func (k *kinds) SetGpuSocket(fd int, _ vh.Later) error {
	own, err := syscall.Dup(fd)
	if err == nil {
		k.display = os.NewFile(uintptr(own), "display")
	}
	return err
}

func TestMessagesOfOneKind(t *testing.T) {
	k := &kinds{sessions: map[int64]vh.CryptoSession{}, later: make(chan vh.Later, 1)}
	d, err := vh.NewDevice(&vh.DeviceOpts{Type: vh.TypeNet, Features: 8}, k)
	must(t, err)
	m, s := pair(t, d)
	serve(t, s)
	_, err = m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	mac := []byte{0x52, 0x54, 0, 1, 2, 3}
	must(t, m.SendRARP(within(t), mac))
	must(t, m.SetMTU(within(t), 9000))
	if !bytes.Equal(k.mac, mac) || k.mtu != 9000 {
		t.Errorf("mac %x, mtu %d", k.mac, k.mtu)
	}
	want(t, m.SetMTU(within(t), 67), syscall.EINVAL)
	session := &vh.CryptoSession{OpCode: 2, Algo: 3, Key: []byte("0123456789abcdef"), AuthKey: []byte("auth"), Direction: 1}
	number, err := m.CreateCryptoSession(within(t), session)
	must(t, err)
	if kept := k.sessions[number]; !bytes.Equal(kept.Key, session.Key) || !bytes.Equal(kept.AuthKey, session.AuthKey) ||
		kept.Direction != 1 {
		t.Errorf("session %+v", kept)
	}
	must(t, m.CloseCryptoSession(within(t), number))
	want(t, m.CloseCryptoSession(within(t), number), syscall.EREMOTEIO)
	_, err = m.CreateCryptoSession(within(t), &vh.CryptoSession{Algo: 99})
	want(t, err, syscall.EREMOTEIO)
	go func() {
		later := <-k.later
		time.Sleep(50 * time.Millisecond)
		if err := d.Reply(later, binary.LittleEndian.AppendUint64(nil, 1<<40), nil); err != nil {
			t.Error(err)
		}
	}()
	number, err = m.CreateCryptoSession(within(t), &vh.CryptoSession{Algo: 98})
	must(t, err)
	if number != 1<<40 {
		t.Errorf("number %d", number)
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	must(t, m.SetGpuSocket(within(t), theirs))
	must(t, theirs.Close())
	if _, err := k.display.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	must(t, k.display.Close())
	_, err = m.CreateCryptoSession(context.Background(), nil)
	want(t, err, syscall.EINVAL)
}
