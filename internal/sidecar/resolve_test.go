package sidecar

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"caravan/internal/clock"
)

// TestAConnectionToANameWaitsForItsAddressAlone has a name server as in a container without Internet access. It knows
// the sidecar's address and never answers a question for a TXT record.
func TestAConnectionToANameWaitsForItsAddressAlone(t *testing.T) {
	useNameServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }() // ends with Stop
	defer server.Stop()

	client, err := New(Options{
		Host: "orders-daprd.test", HTTPPort: 1, GRPCPort: listener.Addr().(*net.TCPAddr).Port, Clock: clock.System{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second) // less than the wait for one question
	defer cancel()
	if _, err := grpc_health_v1.NewHealthClient(client.sdk.GrpcClientConn()).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("the first call fails: %v", err)
	}
}

// useNameServer makes this process use a name server that answers 127.0.0.1 for every name.
func useNameServer(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go answerAddresses(conn) // ends when the connection is closed
	previous := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = previous
		_ = conn.Close()
	})
}

func answerAddresses(conn net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var message dnsmessage.Message
		if err := message.Unpack(buffer[:n]); err != nil || len(message.Questions) != 1 {
			continue
		}
		question := message.Questions[0]
		answer := dnsmessage.Message{Header: dnsmessage.Header{ID: message.ID, Response: true, Authoritative: true}, Questions: message.Questions}
		switch question.Type {
		case dnsmessage.TypeA:
			answer.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		case dnsmessage.TypeAAAA: // no such address
		default:
			continue
		}
		if packed, err := answer.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}
