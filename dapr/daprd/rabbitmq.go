package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/pubsub/rabbitmq"
	"github.com/dapr/kit/logger"

	"caravan/dapr/daprd/await"
)

// apart is the RabbitMQ component with a connection for each subscription and
// one for publishing. The component itself puts all of them on one channel, and
// after a lost connection its subscriptions are renewed at the same time: one
// registers its consumer outside of the lock under which another declares its
// queue (pubsub/rabbitmq/rabbitmq.go of components-contrib 1.18.0,
// subscribeForever), the two answers are mixed up ("unexpected command
// received"), and the broker is left with a consumer that nobody listens to. It
// is given every other message of that queue, which then waits for an
// acknowledgement until the sidecar ends.
type apart struct {
	pubsub.PubSub // publishes
	log           logger.Logger

	mu          sync.Mutex
	metadata    pubsub.Metadata
	subscribers map[string]pubsub.PubSub // by topic
	closed      bool
}

func newRabbitMQ(log logger.Logger) pubsub.PubSub {
	return &apart{PubSub: rabbitmq.NewRabbitMQ(log), log: log, subscribers: map[string]pubsub.PubSub{}}
}

// Init implements pubsub.PubSub. It waits for the broker.
func (a *apart) Init(ctx context.Context, metadata pubsub.Metadata) error {
	a.mu.Lock()
	a.metadata = metadata
	a.mu.Unlock()
	connected, err := a.connect(ctx, metadata)
	if err != nil {
		return err
	}
	a.PubSub = connected
	return nil
}

// copyOf is a copy whose settings a component may change.
func copyOf(metadata pubsub.Metadata) pubsub.Metadata {
	metadata.Properties = maps.Clone(metadata.Properties)
	return metadata
}

// Subscribe implements pubsub.PubSub. The connection outlives the subscription,
// so that deliveries in hand can still be acknowledged, and a later subscription
// to the topic uses it again.
func (a *apart) Subscribe(ctx context.Context, request pubsub.SubscribeRequest, handler pubsub.Handler) error {
	subscriber, err := a.subscriber(ctx, request.Topic)
	if err != nil {
		return fmt.Errorf("connecting for the subscription to %s: %w", request.Topic, err)
	}
	return subscriber.Subscribe(ctx, request, handler)
}

func (a *apart) subscriber(ctx context.Context, topic string) (pubsub.PubSub, error) {
	a.mu.Lock()
	known, closed, metadata := a.subscribers[topic], a.closed, a.metadata
	a.mu.Unlock()
	switch {
	case closed:
		return nil, errors.New("the component is closed")
	case known != nil:
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	connected, err := a.connect(ctx, metadata)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.subscribers[topic]; other != nil || a.closed {
		return other, errors.Join(connected.Close(), closedIf(a.closed))
	}
	a.subscribers[topic] = connected
	return connected, nil
}

func closedIf(closed bool) error {
	if closed {
		return errors.New("the component is closed")
	}
	return nil
}

// connect makes a component with a connection.
func (a *apart) connect(ctx context.Context, metadata pubsub.Metadata) (pubsub.PubSub, error) {
	return await.Connected(ctx, a.log, func(ctx context.Context) (pubsub.PubSub, error) {
		connected := rabbitmq.NewRabbitMQ(a.log)
		if err := connected.Init(ctx, copyOf(metadata)); err != nil {
			_ = connected.Close() // it has no connection
			return nil, err
		}
		return connected, nil
	})
}

// Close implements pubsub.PubSub: subscriptions first, then publishing, which
// their dead letters need.
func (a *apart) Close() error {
	a.mu.Lock()
	a.closed = true
	subscribers := maps.Clone(a.subscribers)
	a.mu.Unlock()
	failures := make(chan error, len(subscribers))
	for _, subscriber := range subscribers {
		go func() { failures <- subscriber.Close() }()
	}
	var all []error
	for range subscribers {
		all = append(all, <-failures)
	}
	return errors.Join(append(all, a.PubSub.Close())...)
}
