package sidecar

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/metadata"
)

// tokenHeader authenticates calls to the sidecar, and the sidecar's calls to us
// (https://docs.dapr.io/operations/security/api-token/).
const tokenHeader = "dapr-api-token"

// reconnect is how fast a lost connection to the sidecar is tried again: it is
// on the same host and comes back within seconds.
var reconnect = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// withToken adds the API token. The SDK's own interceptor replaces all outgoing
// metadata instead of adding to it.
func withToken(token string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, tokenHeader, token)
		}
		return call(ctx, method, req, reply, cc, opts...)
	}
}

// failFast makes a call fail at once instead of waiting for the sidecar, once the program is stopping.
func failFast(stopping func() bool) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if stopping != nil && stopping() {
			opts = append(opts, grpc.WaitForReady(false))
		}
		return call(ctx, method, req, reply, cc, opts...)
	}
}
