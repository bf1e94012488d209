package launcher

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// FrameCut closes a connection of AMQP 0-9-1 before some of the frames of one method. Its attributes are "class",
// "method" and "share" (0 to 1). Before basic.ack from the broker it loses a confirmation. Before basic.publish from a
// sidecar it loses the message as well. The fault has to be active from a connection's first byte
// (ConnectionFault.Reconnect).
const FrameCut = "frame_cut"

// frameCut is the name of the toxic in toxiproxy.
const frameCut = FrameCut

// The classes and methods of AMQP 0-9-1 that tests cut.
const (
	AMQPBasic   = 60
	AMQPPublish = 40
	AMQPAck     = 80
)

// frameCutToxic implements toxics.Toxic.
type frameCutToxic struct {
	Class  uint16  `json:"class"`
	Method uint16  `json:"method"`
	Share  float64 `json:"share"`
}

// NewState implements toxics.StatefulToxic.
func (t *frameCutToxic) NewState() any { return new(frameReader) }

// Pipe implements toxics.Toxic.
func (t *frameCutToxic) Pipe(stub *toxics.ToxicStub) {
	frames, ok := stub.State.(*frameReader)
	if !ok {
		frames = new(frameReader)
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			keep, cut := frames.read(chunk.Data, t.hit)
			if keep > 0 {
				stub.Output <- &stream.StreamChunk{Data: chunk.Data[:keep], Timestamp: chunk.Timestamp}
			}
			if cut {
				stub.Close()
				return
			}
		}
	}
}

func (t *frameCutToxic) hit(class, method uint16) bool {
	return class == t.Class && method == t.Method && rand.Float64() < t.Share
}

// frameReader parses the frames of one direction of a connection: a type, a channel, a length, a payload and an end
// mark (AMQP 0-9-1, section 2.3.5).
type frameReader struct {
	head    []byte // of the present frame, until its method is known
	rest    int    // bytes that are still missing of the frame
	lost    bool   // the data was not a frame: nothing more is cut
	started bool
}

// The sizes of a frame's header, and of a header with class and method.
const (
	frameHeader  = 7
	methodHeader = frameHeader + 4
	methodFrame  = 1
)

// read processes new data. It returns how much of it to pass on, and whether to close the connection there.
func (f *frameReader) read(data []byte, hit func(class, method uint16) bool) (keep int, cut bool) {
	for at := 0; at < len(data) && !f.lost; {
		if f.rest > 0 {
			n := min(f.rest, len(data)-at)
			f.rest -= n
			at += n
			continue
		}
		n := min(f.wanted()-len(f.head), len(data)-at)
		f.head = append(f.head, data[at:at+n]...)
		at += n
		if len(f.head) < f.wanted() {
			continue
		}
		class, method, isMethod := f.open()
		if isMethod && hit(class, method) {
			// If the head arrived in pieces, some have been passed on. Half a frame has no effect.
			return max(0, at-methodHeader), true
		}
	}
	return len(data), false
}

// wanted is the length of the head of the present frame.
func (f *frameReader) wanted() int {
	if !f.started && len(f.head) > 0 && f.head[0] == 'A' {
		return len("AMQP\x00\x00\x09\x01") // the client's greeting
	}
	if len(f.head) > 0 && f.head[0] == methodFrame {
		return methodHeader
	}
	return frameHeader
}

// open reads a complete head and sets how much of its frame follows.
func (f *frameReader) open() (class, method uint16, isMethod bool) {
	head := f.head
	f.head = f.head[:0]
	if !f.started && head[0] == 'A' {
		f.started = true
		return 0, 0, false
	}
	f.started = true
	const lastFrameType, endMark = 8, 1
	if head[0] == 0 || head[0] > lastFrameType {
		f.lost = true
		return 0, 0, false
	}
	f.rest = int(binary.BigEndian.Uint32(head[3:frameHeader])) + endMark - (len(head) - frameHeader)
	if head[0] != methodFrame {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(head[frameHeader:]), binary.BigEndian.Uint16(head[frameHeader+2:]), true
}
