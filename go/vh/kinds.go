// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"syscall"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

// CryptoSession are the parameters of a crypto session (virtio 1.2 section 5.9.7.2); OpCode 0x404 is an asymmetric one.
type CryptoSession struct {
	OpCode                                     uint64
	Algo                                       uint32
	Key, AuthKey                               []byte
	HashAlg, HashResultLen, AddLen             uint32
	OpType, Direction, HashMode, AlgChainOrder uint8
	KeyType, RsaPaddingAlgo, RsaHashAlgo       uint32
}

// shownSession is what the library shows for the time of a call.
func shownSession(s *raw.CryptoSession) *CryptoSession {
	return &CryptoSession{
		OpCode: s.OpCode, Algo: s.Algo,
		Key:     unsafe.Slice((*byte)(raw.At(s.Key)), int(s.KeyLen)),
		AuthKey: unsafe.Slice((*byte)(raw.At(s.AuthKey)), int(s.AuthKeyLen)),
		HashAlg: s.HashAlg, HashResultLen: s.HashResultLen, AddLen: s.AddLen,
		OpType: uint8(s.OpType), Direction: uint8(s.Direction),
		HashMode: uint8(s.HashMode), AlgChainOrder: uint8(s.AlgChainOrder),
		KeyType: s.KeyType, RsaPaddingAlgo: s.RsaPaddingAlgo, RsaHashAlgo: s.RsaHashAlgo,
	}
}

// SendRarp announces the guest after a migration; mac has 6 bytes.
func (m *Master) SendRARP(ctx context.Context, mac []byte) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSendRARP(p, mac) })
}

// SetMtu is the largest frame.
func (m *Master) SetMTU(ctx context.Context, mtu uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetMTU(p, mtu) })
}

// SetGpuSocket gives the back-end its end of a socket to the display.
func (m *Master) SetGpuSocket(ctx context.Context, socket *os.File) error {
	return withFd(socket, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetGpuSocket(p, fd) })
	})
}

// CreateCryptoSession makes a session and tells its number.
func (m *Master) CreateCryptoSession(ctx context.Context, s *CryptoSession) (number int64, err error) {
	if s == nil {
		return 0, missing("session")
	}
	in := &raw.CryptoSession{
		OpCode: s.OpCode, Algo: s.Algo, KeyLen: u32(len(s.Key)), AuthKeyLen: u32(len(s.AuthKey)),
		HashAlg: s.HashAlg, HashResultLen: s.HashResultLen, AddLen: s.AddLen,
		OpType: uint32(s.OpType), Direction: uint32(s.Direction),
		HashMode: uint32(s.HashMode), AlgChainOrder: uint32(s.AlgChainOrder),
		KeyType: s.KeyType, RsaPaddingAlgo: s.RsaPaddingAlgo, RsaHashAlgo: s.RsaHashAlgo,
	}
	keys := raw.Memory(uintptr(len(s.Key) + len(s.AuthKey) + 1)) // the library follows addresses, so they can't be Go's
	if keys == nil {
		return 0, syscall.ENOMEM
	}
	defer raw.Free(keys)
	n := copy(unsafe.Slice((*byte)(keys), len(s.Key)+len(s.AuthKey)), s.Key)
	copy(unsafe.Slice((*byte)(keys), len(s.Key)+len(s.AuthKey))[n:], s.AuthKey)
	in.Key, in.AuthKey = uint64(uintptr(keys)), uint64(uintptr(keys))+uint64(n)
	return ask(ctx, m, func(p *raw.Master, number *int64) error { return raw.MasterCreateCryptoSession(p, in, number) })
}

// CloseCryptoSession ends one.
func (m *Master) CloseCryptoSession(ctx context.Context, number int64) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterCloseCryptoSession(p, number) })
}
