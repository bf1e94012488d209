package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/kit/logger"

	"caravan/dapr/daprd/store"
)

// enough is more connections than any component tries in one initialization.
const enough = 12

// TestComponentsWaitForTheirServer checks that no component gives up when its server does not answer the first attempt,
// and that each gives up when its time is over.
func TestComponentsWaitForTheirServer(t *testing.T) {
	log := logger.NewLogger("components")
	log.SetOutputLevel(logger.FatalLevel)
	broker := func(newComponent func(logger.Logger) pubsub.PubSub) func(context.Context, metadata.Base) error {
		return func(ctx context.Context, base metadata.Base) error {
			component := newComponent(log)
			defer component.Close()
			return component.Init(ctx, pubsub.Metadata{Base: base})
		}
	}
	documents := func(newComponent func(logger.Logger) state.Store) func(context.Context, metadata.Base) error {
		return func(ctx context.Context, base metadata.Base) error {
			return newComponent(log).Init(ctx, state.Metadata{Base: base})
		}
	}
	for name, component := range map[string]struct {
		init     func(context.Context, metadata.Base) error
		settings func(address string) map[string]string
	}{
		"pubsub.rabbitmq": {broker(newRabbitMQ), func(address string) map[string]string {
			return map[string]string{"connectionString": "amqp://guest:guest@" + address + "/", "consumerID": "orders"}
		}},
		"pubsub.kafka": {broker(newKafka), func(address string) map[string]string {
			return map[string]string{"brokers": address, "authType": "none", "consumerID": "orders"}
		}},
		"pubsub.redis": {broker(newRedisStreams), func(address string) map[string]string {
			return map[string]string{"redisHost": address, "consumerID": "orders", "redisMaxRetries": "0"}
		}},
		"state.redis": {documents(store.NewRedis), func(address string) map[string]string {
			return map[string]string{"redisHost": address, "redisMaxRetries": "0"}
		}},
		"state.postgresql": {documents(store.NewPostgreSQL), func(address string) map[string]string {
			host, port, _ := net.SplitHostPort(address)
			return map[string]string{"connectionString": "host=" + host + " port=" + port + " user=caravan dbname=caravan sslmode=disable"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, turnedAway := booting(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				ended <- component.init(ctx, metadata.Base{Name: "component", Properties: component.settings(address)})
			}()
			for range enough {
				select {
				case <-turnedAway:
				case err := <-ended:
					t.Fatalf("it gave up: %v", err)
				}
			}
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("it did not end with its context")
			}
		})
	}
}

// booting is a server that refuses every connection, as a broker does while it starts.
func booting(t *testing.T) (address string, turnedAway <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	connections := make(chan struct{}, 10*enough)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.Close()
			select {
			case connections <- struct{}{}:
			default: // the test has seen enough
			}
		}
	}()
	return listener.Addr().String(), connections
}
