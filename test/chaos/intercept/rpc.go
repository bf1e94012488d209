package intercept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	common "github.com/dapr/dapr/pkg/proto/common/v1"
	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"caravan/dapr/launcher"
)

// maxMessage is the largest message in bytes that passes. It is larger than the limits of the programs and the
// sidecars.
const maxMessage = 64 << 20

// rpcProxy forwards the gRPC API of a sidecar, message by message. It does not need to know most of the messages.
type rpcProxy struct {
	interceptor *Interceptor
	link        launcher.Link
	server      *grpc.Server
	sidecar     *grpc.ClientConn
}

func newRPCProxy(i *Interceptor, link launcher.Link) (*rpcProxy, error) {
	// The program waits for its sidecar within its own deadline (WaitForReady), and so the proxy waits too.
	sidecar, err := grpc.NewClient("127.0.0.1:"+strconv.Itoa(link.GRPCPort),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.WaitForReady(true),
			grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(reconnect),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the sidecar of %s: %w", link.Process, err)
	}
	p := &rpcProxy{interceptor: i, link: link, sidecar: sidecar}
	p.server = grpc.NewServer(append(serverOptions(), grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(p.handle))...)
	return p, nil
}

func (p *rpcProxy) close() {
	p.server.Stop()
	_ = p.sidecar.Close()
}

// rawCodec does not change messages.
type rawCodec struct{}

type message struct{ raw []byte }

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) { return v.(*message).raw, nil }

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(raw []byte, v any) error {
	v.(*message).raw = slices.Clone(raw) // the buffer is used again
	return nil
}

// Name implements encoding.Codec.
func (rawCodec) Name() string { return "proto" }

// rpcReply is the sidecar's answer to a call.
type rpcReply struct {
	message         message
	header, trailer metadata.MD
	err             error
}

func (p *rpcProxy) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	outgoing := incoming.Copy()
	for _, key := range []string{":authority", "content-type", "user-agent", "grpc-accept-encoding"} {
		outgoing.Delete(key)
	}
	ctx := metadata.NewOutgoingContext(stream.Context(), outgoing)
	describe, known := described[method]
	if !known {
		return p.pump(ctx, method, stream)
	}
	var request message
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	call := Call{Process: p.link.Process, App: p.link.App}
	if err := describe(request.raw, &call); err != nil {
		return status.Errorf(codes.Internal, "the proxy does not understand %s: %v", method, err)
	}
	return p.answer(stream, p.pass(ctx, method, request, call))
}

// pass forwards a call, or passes it to its fault.
func (p *rpcProxy) pass(ctx context.Context, method string, request message, call Call) Reply {
	if (call.Kind == Publish || call.Kind == Write) && p.interceptor.wanted(call) {
		return p.passApart(ctx, method, request, call)
	}
	return p.passWhole(ctx, method, request, call)
}

func (p *rpcProxy) passWhole(ctx context.Context, method string, request message, call Call) Reply {
	fault := p.interceptor.catch(call)
	if fault == nil {
		return p.forward(ctx, method, request)
	}
	return fault.strike(call, func() Reply {
		late, cancel := detached(ctx)
		defer cancel()
		return p.forward(late, method, request)
	})
}

// passApart passes what has a fault one by one, separately from the rest. So a fault of one document or event does not
// affect others of the same call.
func (p *rpcProxy) passApart(ctx context.Context, method string, request message, call Call) Reply {
	parts, err := divide(method, request.raw, func(part []byte) bool {
		one := Call{Process: call.Process, App: call.App}
		return described[method](part, &one) == nil && p.interceptor.wanted(one)
	})
	if err != nil {
		return Reply{rpc: &rpcReply{err: status.Errorf(codes.Internal, "the proxy cannot divide %s: %v", method, err)}}
	}
	replies := make([]Reply, len(parts))
	var all sync.WaitGroup
	for n, part := range parts {
		all.Go(func() {
			one := Call{Process: call.Process, App: call.App}
			if err := described[method](part, &one); err != nil {
				replies[n] = Reply{rpc: &rpcReply{err: status.Errorf(codes.Internal, "the proxy does not understand %s: %v", method, err)}}
				return
			}
			replies[n] = p.passWhole(ctx, method, message{part}, one)
		})
	}
	all.Wait()
	for _, reply := range replies {
		if !reply.OK() {
			return reply // the first failure is the result for all, as with the sidecar
		}
	}
	return replies[0]
}

// divide makes one message for each document or event that has a fault, and one for all others.
func divide(method string, raw []byte, alone func([]byte) bool) ([][]byte, error) {
	switch method {
	case runtime.Dapr_SaveState_FullMethodName:
		var all runtime.SaveStateRequest
		if err := proto.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		return divided(all.GetStates(), alone, func(states []*common.StateItem) proto.Message {
			return &runtime.SaveStateRequest{StoreName: all.GetStoreName(), States: states}
		})
	default:
		var all runtime.BulkPublishRequest
		if err := proto.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		return divided(all.GetEntries(), alone, func(entries []*runtime.BulkPublishRequestEntry) proto.Message {
			return &runtime.BulkPublishRequest{
				PubsubName: all.GetPubsubName(), Topic: all.GetTopic(), Metadata: all.GetMetadata(), Entries: entries,
			}
		})
	}
}

func divided[T any](items []T, alone func([]byte) bool, of func([]T) proto.Message) ([][]byte, error) {
	var parts [][]byte
	var rest []T
	for _, item := range items {
		part, err := proto.Marshal(of([]T{item}))
		if err != nil {
			return nil, err
		}
		if alone(part) {
			parts = append(parts, part)
		} else {
			rest = append(rest, item)
		}
	}
	if len(rest) == 0 {
		return parts, nil
	}
	others, err := proto.Marshal(of(rest))
	return append(parts, others), err
}

func (p *rpcProxy) forward(ctx context.Context, method string, request message) Reply {
	var r rpcReply
	r.err = p.sidecar.Invoke(ctx, method, &request, &r.message, grpc.Header(&r.header), grpc.Trailer(&r.trailer))
	return Reply{rpc: &r}
}

func (p *rpcProxy) answer(stream grpc.ServerStream, reply Reply) error {
	if f := reply.failure; f != nil {
		if f.code == brokenConnection {
			return status.Error(codes.Unavailable, f.text)
		}
		return status.Error(f.code, f.text)
	}
	_ = stream.SetHeader(reply.rpc.header) // fails only when the program has stopped
	stream.SetTrailer(reply.rpc.trailer)
	if reply.rpc.err != nil {
		return reply.rpc.err
	}
	return stream.SendMsg(&reply.rpc.message)
}

// pump forwards a call of any form, in both directions, until it ends.
func (p *rpcProxy) pump(ctx context.Context, method string, program grpc.ServerStream) error {
	sidecar, err := p.sidecar.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the program's stream, whose context ends with this call
		for {
			var m message
			if program.RecvMsg(&m) != nil {
				_ = sidecar.CloseSend()
				return
			}
			if sidecar.SendMsg(&m) != nil {
				return
			}
		}
	}()
	if header, err := sidecar.Header(); err == nil {
		_ = program.SetHeader(header)
	}
	for {
		var m message
		err := sidecar.RecvMsg(&m)
		if err != nil {
			program.SetTrailer(sidecar.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := program.SendMsg(&m); err != nil {
			return err
		}
	}
}

// described are the calls that faults can match. Each function fills in the content of its message.
var described = map[string]func(raw []byte, c *Call) error{
	runtime.Dapr_GetState_FullMethodName: func(raw []byte, c *Call) error {
		var r runtime.GetStateRequest
		err := proto.Unmarshal(raw, &r)
		c.Kind, c.Keys = Read, []string{r.GetKey()}
		return err
	},
	runtime.Dapr_GetBulkState_FullMethodName: func(raw []byte, c *Call) error {
		var r runtime.GetBulkStateRequest
		err := proto.Unmarshal(raw, &r)
		c.Kind, c.Keys = Read, r.GetKeys()
		return err
	},
	runtime.Dapr_SaveState_FullMethodName: func(raw []byte, c *Call) error {
		var r runtime.SaveStateRequest
		err := proto.Unmarshal(raw, &r)
		c.Kind, c.Values = Write, make(map[string][]byte)
		for _, item := range r.GetStates() {
			c.Keys = append(c.Keys, item.GetKey())
			c.Values[item.GetKey()] = item.GetValue()
			c.Body = append(append(c.Body, item.GetValue()...), '\n')
		}
		return err
	},
	runtime.Dapr_BulkPublishEvent_FullMethodName:       describePublish,
	runtime.Dapr_BulkPublishEventAlpha1_FullMethodName: describePublish,
}

func describePublish(raw []byte, c *Call) error {
	var r runtime.BulkPublishRequest
	err := proto.Unmarshal(raw, &r)
	c.Kind, c.Target = Publish, r.GetTopic()
	for _, entry := range r.GetEntries() {
		c.Body = append(append(c.Body, entry.GetEvent()...), '\n')
	}
	return err
}
