// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

const unknown = 0x4242 // a message that is not in the protocol

// byHand is a front-end and a back-end whose users are asked; both have the protocol feature SHARED_OBJECT.
func byHand(t *testing.T, fromFront, fromBack func(*vh.PeerRequest) error) (*vh.Master, *vh.Slave) {
	t.Helper()
	s, err := vh.NewSlaveAsked(ram(t), &vh.SlaveOpts{MoreProtocolFeatures: 1 << vh.PFSharedObject}, fromFront)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	m, err := vh.NewMaster(&vh.MasterOpts{MoreProtocolFeatures: 1 << vh.PFSharedObject}, fromBack)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	meet(t, m, s)
	serve(t, s)
	return m, s
}

// asks sends a request and waits for its reply.
func asks(t *testing.T, submit func(*vh.RawRequest) (vh.Ticket, error), finish func(context.Context, vh.Ticket) (*vh.RawReply, error),
	r *vh.RawRequest) (*vh.RawReply, error) {
	t.Helper()
	ticket, err := submit(r)
	must(t, err)
	return finish(within(t), ticket)
}

func TestWhatNobodyElseAnswersIsAskedOfTheUser(t *testing.T) {
	var s *vh.Slave
	m, s := byHand(t, func(r *vh.FrontendRequest) error {
		switch string(r.Payload) {
		case "yes":
			return nil
		case "own":
			files, err := r.Files()
			if err == nil {
				defer files[0].Close()
				err = s.Answer(r.Token, nil, []byte("mine"), files)
			}
			if err != nil {
				return err
			}
			return vh.ErrLater
		}
		return syscall.ENOENT
	}, nil)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	_, err = asks(t, m.Submit, m.Finish, &vh.RawRequest{ID: unknown, Reply: vh.ReplyAck, Payload: []byte("yes")})
	must(t, err)
	_, err = asks(t, m.Submit, m.Finish, &vh.RawRequest{ID: unknown, Reply: vh.ReplyAck, Payload: []byte("no")})
	want(t, err, syscall.EREMOTEIO)
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	reply, err := asks(t, m.Submit, m.Finish, &vh.RawRequest{ID: unknown, Reply: vh.ReplyOwn, Payload: []byte("own"), Files: []*os.File{null}})
	must(t, err)
	if string(reply.Payload) != "mine" || len(reply.Files) != 1 {
		t.Fatalf("%q and %d files", reply.Payload, len(reply.Files))
	}
	must(t, reply.Files[0].Close())
}

func TestASlaveAsksAndIsAnswered(t *testing.T) {
	uuid := []byte("an object's uuid")
	m, s := byHand(t, nil, func(r *vh.BackendRequest) error {
		if string(r.Payload) != string(uuid) {
			return syscall.ENOENT
		}
		return nil
	})
	_, err := s.Submit(&vh.RawRequest{ID: 2})
	want(t, err, syscall.EOPNOTSUPP)
	driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
	turn(t, m)
	_, err = asks(t, s.Submit, s.Finish, &vh.RawRequest{ID: 6, Payload: uuid})
	must(t, err)
	_, err = s.Submit(&vh.RawRequest{ID: 6, Payload: uuid[1:]})
	want(t, err, syscall.EINVAL)
	_, err = asks(t, s.Submit, s.Finish, &vh.RawRequest{ID: 6, Payload: []byte("another object's")})
	want(t, err, syscall.EREMOTEIO)
}
