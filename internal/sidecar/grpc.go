package sidecar

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/metadata"
)

// tokenHeader authenticates calls to the sidecar, and the sidecar's calls to this program
// (https://docs.dapr.io/operations/security/api-token/).
const tokenHeader = "dapr-api-token"

// reconnect sets how often a lost connection to the sidecar is tried again. The sidecar is on the same host and returns
// within seconds.
var reconnect = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// withToken adds the API token. The interceptor of the SDK would replace all outgoing metadata instead.
func withToken(token string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, tokenHeader, token)
		}
		return call(ctx, method, req, reply, cc, opts...)
	}
}

// withStreamToken is withToken for streams.
func withStreamToken(token string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, tokenHeader, token)
		}
		return open(ctx, desc, cc, method, opts...)
	}
}

// failFast makes a call fail at once, without waiting for the sidecar, when the program is stopping.
func failFast(stopping func() bool) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if stopping != nil && stopping() {
			opts = append(opts, grpc.WaitForReady(false))
		}
		return call(ctx, method, req, reply, cc, opts...)
	}
}
