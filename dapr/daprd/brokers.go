package main

import (
	"context"

	"github.com/dapr/components-contrib/health"
	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/components-contrib/pubsub/kafka"
	"github.com/dapr/components-contrib/pubsub/redis"
	"github.com/dapr/kit/logger"

	"caravan/dapr/daprd/await"
)

// awaitedKafka is the Kafka component, which waits for its broker.
type awaitedKafka struct {
	*kafka.PubSub
	log logger.Logger
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
		k.PubSub = connected
	}
	return err
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
