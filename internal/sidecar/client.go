// Package sidecar is the client of the Dapr sidecar, through which a service reaches everything outside: documents,
// events and other services. It implements the ports of packages document, feed and invoke.
package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/invoke"
)

// Names of the Dapr components that every component set defines.
const (
	StoreName  = "store"
	PubSubName = "pubsub"
)

// Options configure a Client.
type Options struct {
	// AppID is this app's Dapr id.
	AppID string
	// Host is where the sidecar listens; 127.0.0.1 when empty.
	Host string
	// HTTPPort and GRPCPort are the sidecar's API ports.
	HTTPPort, GRPCPort int
	// Token is sent to the sidecar as dapr-api-token.
	Token string
	// AppToken is what the sidecar sends to this program as dapr-api-token.
	AppToken string
	// WriteBatch is how many documents a call writes at most. Zero means the default, which suits stores that write many
	// documents in parallel.
	WriteBatch int
	// Stopping reports whether the program has begun to stop; nil means that it never does. A call then no longer waits
	// for an unavailable sidecar: the sidecar is stopping too and will not come back.
	Stopping func() bool
	Log      *slog.Logger
	Clock    clock.Clock
}

// Client talks to one sidecar. It is safe for concurrent use.
type Client struct {
	opts     Options
	base     string
	sdk      dapr.Client
	http     *http.Client
	store    *store
	breakers *breakers
}

// maxMessage is the largest gRPC message in bytes between this program and the sidecar, such as a bulk read of
// documents.
const maxMessage = 16 << 20

// New makes a Client. It does not wait for the sidecar. Calls fail until the sidecar listens; Outbound reports whether
// it does.
func New(opts Options) (*Client, error) {
	if opts.Host == "" {
		opts.Host = "127.0.0.1"
	}
	conn, err := grpc.NewClient(net.JoinHostPort(opts.Host, strconv.Itoa(opts.GRPCPort)),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// gRPC would look for a configuration in a TXT record of the sidecar's name. In a network without Internet
		// access, as containers have, nobody answers, and the connection would wait ten seconds.
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(withToken(opts.Token), failFast(opts.Stopping)),
		grpc.WithChainStreamInterceptor(withStreamToken(opts.Token)),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the sidecar: %w", err)
	}
	return Over(opts, dapr.NewClientWithConnection(conn), &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512, IdleConnTimeout: 90 * time.Second}), nil
}

// Over makes a Client that uses the two given APIs of a sidecar: gRPC through the SDK, and HTTP. The simulation passes
// a simulated sidecar.
func Over(opts Options, sdk dapr.Client, transport http.RoundTripper) *Client {
	return &Client{
		opts: opts, base: "http://" + net.JoinHostPort(opts.Host, strconv.Itoa(opts.HTTPPort)),
		sdk: sdk, http: &http.Client{Transport: transport}, breakers: newBreakers(opts.Clock),
		store: newStore(sdk, opts.WriteBatch),
	}
}

// Store is the document store.
func (c *Client) Store() document.Store { return c.store }

// Invoker calls other apps.
func (c *Client) Invoker() invoke.Invoker { return invoker{c} }

// Publisher publishes events.
func (c *Client) Publisher() feed.Publisher { return publisher{c.sdk} }

// Breakers lists what this process has observed of the sidecar's circuit breakers.
func (c *Client) Breakers() []Breaker { return c.breakers.list() }

// Close closes the connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	c.sdk.Close()
	return nil
}

// Outbound reports whether the sidecar's components are ready to be used
// (https://docs.dapr.io/reference/api/health_api/).
func (c *Client) Outbound(ctx context.Context) error {
	response, err := c.get(ctx, "/v1.0/healthz/outbound")
	if err != nil {
		return fmt.Errorf("asking the sidecar's health: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("sidecar is not ready: status %d", response.StatusCode)
	}
	return nil
}

// Subscriptions lists the topics to which the sidecar has subscribed for this app
// (https://docs.dapr.io/reference/api/metadata_api/). A consumer gets no events of a topic that is missing there, and
// has to report that.
func (c *Client) Subscriptions(ctx context.Context) ([]string, error) {
	response, err := c.get(ctx, "/v1.0/metadata")
	if err != nil {
		return nil, fmt.Errorf("asking the sidecar's subscriptions: %w", err)
	}
	defer response.Body.Close()
	var metadata struct {
		Subscriptions []struct {
			Topic string `json:"topic"`
		} `json:"subscriptions"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&metadata); err != nil {
		return nil, fmt.Errorf("reading the sidecar's subscriptions: %w", err)
	}
	var topics []string
	for _, s := range metadata.Subscriptions {
		topics = append(topics, s.Topic)
	}
	return topics, nil
}

func (c *Client) get(ctx context.Context, path string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	request.Header.Set(tokenHeader, c.opts.Token)
	response, err := c.http.Do(request)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = cancelBody{response.Body, cancel}
	return response, nil
}

// cancelBody cancels the request's context when the body is closed.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
