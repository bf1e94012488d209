package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/dapr/components-contrib/health"
	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/pubsub/kafka"
	"github.com/dapr/components-contrib/pubsub/redis"
	"github.com/dapr/kit/logger"

	"caravan/dapr/daprd/await"
)

// transientGroupsKey is a setting of our Kafka component: each subscription has a consumer group of its own. So it begins with the
// newest event each time, and the other topics of the sidecar go on when one is added. The stock component ignores the setting. All
// its subscriptions share a group, which goes on where it stopped, with everything published since.
const transientGroupsKey = "transientGroups"

// awaitedKafka is the Kafka component, which waits for its broker.
type awaitedKafka struct {
	*kafka.PubSub
	log      logger.Logger
	metadata pubsub.Metadata
}

func newKafka(log logger.Logger) pubsub.PubSub {
	return &awaitedKafka{PubSub: kafka.NewKafka(log).(*kafka.PubSub), log: log}
}

// Init implements pubsub.PubSub.
func (k *awaitedKafka) Init(ctx context.Context, metadata pubsub.Metadata) error {
	connected, err := await.Connected(ctx, k.log, func(ctx context.Context) (*kafka.PubSub, error) {
		fresh := kafka.NewKafka(k.log).(*kafka.PubSub)
		if err := fresh.Init(ctx, copyOf(metadata)); err != nil {
			_ = fresh.Close() // it has no connection yet
			return nil, err
		}
		return fresh, nil
	})
	if err == nil {
		k.PubSub, k.metadata = connected, copyOf(metadata)
	}
	return err
}

// Subscribe implements pubsub.PubSub.
func (k *awaitedKafka) Subscribe(ctx context.Context, request pubsub.SubscribeRequest, handler pubsub.Handler) error {
	if k.metadata.Properties[transientGroupsKey] != "true" {
		return k.PubSub.Subscribe(ctx, request, handler)
	}
	metadata := copyOf(k.metadata)
	metadata.Properties["consumerID"] = "transient-" + rand.Text()
	alone := kafka.NewKafka(k.log)
	err := alone.Init(ctx, metadata)
	if err == nil {
		err = alone.Subscribe(ctx, request, handler)
	}
	if err != nil {
		_ = alone.Close() // it may have no connection
		return fmt.Errorf("subscribing to %s: %w", request.Topic, err)
	}
	go func() {
		<-ctx.Done()
		if err := alone.Close(); err != nil {
			k.log.Warnf("ending the subscription to %s: %v", request.Topic, err)
		}
	}()
	return nil
}

// redisStreams is the interface of the Redis Streams component.
type redisStreams interface {
	pubsub.PubSub
	health.Pinger
}

// awaitedRedisStreams is the Redis Streams component, which waits for its server.
type awaitedRedisStreams struct {
	redisStreams
	log logger.Logger
}

func newRedisStreams(log logger.Logger) pubsub.PubSub {
	return &awaitedRedisStreams{redisStreams: redis.NewRedisStreams(log).(redisStreams), log: log}
}

// Init implements pubsub.PubSub.
func (r *awaitedRedisStreams) Init(ctx context.Context, metadata pubsub.Metadata) error {
	connected, err := await.Connected(ctx, r.log, func(ctx context.Context) (redisStreams, error) {
		fresh := redis.NewRedisStreams(r.log).(redisStreams)
		if err := fresh.Init(ctx, copyOf(metadata)); err != nil {
			_ = fresh.Close() // it has no connection yet
			return nil, err
		}
		return fresh, nil
	})
	if err == nil {
		r.redisStreams = connected
	}
	return err
}
