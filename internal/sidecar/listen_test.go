package sidecar

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	"caravan/internal/clock"
	"caravan/internal/event"
)

// fakeTopics is a sidecar that delivers messages to one subscription, and then ends it.
type fakeTopics struct {
	runtime.UnimplementedDaprServer
	refuse   error
	messages []string
	seen     chan string // what the program sent
}

// SubscribeTopicEventsAlpha1 implements the API of the sidecar.
func (f *fakeTopics) SubscribeTopicEventsAlpha1(stream runtime.Dapr_SubscribeTopicEventsAlpha1Server) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if f.refuse != nil {
		return f.refuse
	}
	token, _ := metadata.FromIncomingContext(stream.Context())
	initial := first.GetInitialRequest()
	f.seen <- strings.Join([]string{initial.GetPubsubName(), initial.GetTopic(), initial.GetMetadata()["rawPayload"], strings.Join(token.Get(tokenHeader), ",")}, " ")
	if err := stream.Send(&runtime.SubscribeTopicEventsResponseAlpha1{
		SubscribeTopicEventsResponseType: &runtime.SubscribeTopicEventsResponseAlpha1_InitialResponse{InitialResponse: &runtime.SubscribeTopicEventsResponseInitialAlpha1{}},
	}); err != nil {
		return err
	}
	for _, m := range f.messages {
		if err := stream.Send(&runtime.SubscribeTopicEventsResponseAlpha1{
			SubscribeTopicEventsResponseType: &runtime.SubscribeTopicEventsResponseAlpha1_EventMessage{EventMessage: &runtime.TopicEventRequest{Id: "m", Data: []byte(m)}},
		}); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		f.seen <- answer.GetEventProcessed().GetId() + " " + answer.GetEventProcessed().GetStatus().GetStatus().String()
	}
	return grpcstatus.Error(codes.Unavailable, "the broker is away")
}

// over serves a fakeTopics and connects a client to it.
func (f *fakeTopics) over(t *testing.T) *Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtime.RegisterDaprServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c, err := New(Options{HTTPPort: 1, GRPCPort: listener.Addr().(*net.TCPAddr).Port, Token: "sidecar-token", Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func message(id, typ string) string {
	return `{"specversion":"1.0","id":"` + id + `","type":"` + typ + `","source":"orders","subject":"o1","sequence":"1","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"a":1}}`
}

func TestListen(t *testing.T) {
	confirmed := event.ID("orders", "o1", 1)
	f := &fakeTopics{messages: []string{message(confirmed, "orders.confirmed.v1"), "no event", message(event.ID("orders", "o1", 2), HeartbeatType)}, seen: make(chan string, 10)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var taken []string
	ready := 0
	err := f.over(t).Listen(ctx, "orders", func() { ready++ }, func(e event.Event) { taken = append(taken, e.ID) })
	if grpcstatus.Code(errors.Unwrap(err)) != codes.Unavailable || ready != 1 || len(taken) != 1 || taken[0] != confirmed {
		t.Errorf("it ended with %v, was ready %d times, took %q", err, ready, taken)
	}
	close(f.seen)
	var seen []string
	for s := range f.seen {
		seen = append(seen, s)
	}
	if got := strings.Join(seen, "; "); got != "live orders true sidecar-token; m SUCCESS; m SUCCESS; m SUCCESS" {
		t.Errorf("the sidecar saw %s", got)
	}
}

// TestListenWithoutTheComponent covers a stack whose files lack the component live.
func TestListenWithoutTheComponent(t *testing.T) {
	f := &fakeTopics{refuse: grpcstatus.Error(codes.InvalidArgument, "pubsub live is not found")}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := f.over(t).Listen(ctx, "orders", func() { t.Error("it is ready") }, func(event.Event) { t.Error("it took an event") })
	if grpcstatus.Code(errors.Unwrap(err)) != codes.InvalidArgument {
		t.Error(err)
	}
}
