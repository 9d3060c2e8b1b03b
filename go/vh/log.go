// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

// Message is a vhost-user message as it crossed the socket, good during the callback.
type Message struct{ raw.MsgInfo }

// Bytes is its payload.
func (m *Message) Bytes() []byte { return unsafe.Slice((*byte)(raw.At(m.Payload)), int(m.PayloadSize)) }

// JSON is the message as a line of JSON.
func (m *Message) JSON() (string, error) {
	buf := make([]byte, 64<<10)
	n, err := raw.MsgJSON(&m.MsgInfo, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func logOps(c *caught, level uint32, line func(uint32, string)) *raw.LoggerOps {
	if line == nil {
		return nil
	}
	return &raw.LoggerOps{Level: level, Line: func(level uint32, text string) {
		c.run(func() error { line(level, text); return nil })
	}}
}

func traceOps(c *caught, message func(*Message)) *raw.TraceOps {
	if message == nil {
		return nil
	}
	return &raw.TraceOps{Message: func(info *raw.MsgInfo) {
		m := Message{*info}
		defer func() { m.Payload, m.PayloadSize = 0, 0 }()
		c.run(func() error { message(&m); return nil })
	}}
}
