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

// apart is the RabbitMQ component with one connection for each subscription and one for publishing. The stock component
// puts all of them on one channel and renews all subscriptions at the same time after a lost connection. One
// subscription then registers its consumer outside of the lock under which another declares its queue
// (pubsub/rabbitmq/rabbitmq.go of components-contrib 1.18.0, subscribeForever). The two answers are mixed up
// ("unexpected command received"), and the broker keeps a consumer that nobody reads from. The broker gives it every
// other message of that queue, and these messages wait for an acknowledgement until the sidecar ends.
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

// copyOf returns a copy whose settings a component may change.
func copyOf(metadata pubsub.Metadata) pubsub.Metadata {
	metadata.Properties = maps.Clone(metadata.Properties)
	return metadata
}

// Subscribe implements pubsub.PubSub. The connection stays open after the subscription ends, so that deliveries in
// progress can still be acknowledged. A later subscription to the topic uses the connection again.
func (a *apart) Subscribe(ctx context.Context, request pubsub.SubscribeRequest, handler pubsub.Handler) error {
	a.mu.Lock()
	alone := transientOf(a.metadata.Properties, a.log)
	a.mu.Unlock()
	if alone != nil {
		return alone.subscribe(ctx, request.Topic, handler)
	}
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
			_ = connected.Close() // it has no connection yet
			return nil, err
		}
		return connected, nil
	})
}

// Close implements pubsub.PubSub. It closes the subscriptions first, because their dead letters need the publisher.
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
