package sidecar

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	"caravan/internal/clock"
)

// TestAProgramThatStopsDoesNotWaitForItsSidecar: only a program that is not stopping waits for its sidecar.
func TestAProgramThatStopsDoesNotWaitForItsSidecar(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var stopping atomic.Bool
	client, err := New(Options{HTTPPort: 1, GRPCPort: port, Stopping: stopping.Load, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	call := func(limit time.Duration) codes.Code {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := grpc_health_v1.NewHealthClient(client.sdk.GrpcClientConn()).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return grpcstatus.Code(err)
	}
	if got := call(300 * time.Millisecond); got != codes.DeadlineExceeded {
		t.Errorf("a program that runs gives up with %s", got)
	}
	stopping.Store(true)
	if got := call(time.Minute); got != codes.Unavailable {
		t.Errorf("a program that stops gets %s", got)
	}
}
