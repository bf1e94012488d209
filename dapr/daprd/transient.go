package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dapr/components-contrib/pubsub"
	"github.com/dapr/kit/logger"
	amqp "github.com/rabbitmq/amqp091-go"
)

// transientKey is a setting of our RabbitMQ component: each subscription has a queue that lives as long as its connection. The stock
// component cannot have one on an exchange that is durable, because it uses the same two settings for both (pubsub/rabbitmq/rabbitmq.go
// of components-contrib 1.18.0, ensureExchangeDeclared). A stock daprd ignores this setting, and leaves a queue of maxLen messages
// behind for each sidecar that ended.
const transientKey = "transientQueues"

const (
	transientMaxLen = 10000           // if the component does not say maxLen
	transientPause  = 2 * time.Second // before a lost connection is made again
	// transientAhead is how many messages the broker sends before they are handled. More stay in the queue, where maxLen bounds them.
	// Without it the client would keep them all in its memory.
	transientAhead = 256
	// transientEach is after how many messages the broker is told. Their queue ends with the connection, so none comes twice.
	transientEach = 64
)

// transient subscribes with queues that live as long as their connection. Messages are delivered one after another, at most once.
type transient struct {
	url    string
	maxLen int
	log    logger.Logger
}

// transientOf returns the subscriber of a component that has transientKey, and nil for any other.
func transientOf(properties map[string]string, log logger.Logger) *transient {
	if properties[transientKey] != "true" || properties["connectionString"] == "" {
		return nil
	}
	t := &transient{url: properties["connectionString"], maxLen: transientMaxLen, log: log}
	if n, err := strconv.Atoi(properties["maxLen"]); err == nil && n > 0 {
		t.maxLen = n
	}
	return t
}

// subscribe returns when the subscription is there. It ends with ctx, and is made again when its connection is lost.
func (t *transient) subscribe(ctx context.Context, topic string, handler pubsub.Handler) error {
	connection, deliveries, err := t.open(topic)
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", topic, err)
	}
	go func() {
		for {
			t.deliver(ctx, topic, deliveries, handler)
			_ = connection.Close()
			if connection, deliveries = t.reopen(ctx, topic); connection == nil {
				return
			}
		}
	}()
	return nil
}

// reopen makes a lost connection again. It returns nil when ctx has ended.
func (t *transient) reopen(ctx context.Context, topic string) (*amqp.Connection, <-chan amqp.Delivery) {
	for ctx.Err() == nil {
		t.log.Warnf("the transient subscription to %s is lost and made again", topic)
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(transientPause):
		}
		connection, deliveries, err := t.open(topic)
		if err == nil {
			return connection, deliveries
		}
		t.log.Warnf("subscribing to %s: %v", topic, err)
	}
	return nil, nil
}

// open makes a connection with a queue that is bound to the exchange of a topic.
func (t *transient) open(topic string) (_ *amqp.Connection, _ <-chan amqp.Delivery, err error) {
	connection, err := amqp.DialConfig(t.url, amqp.Config{Heartbeat: 10 * time.Second, Locale: "en_US"})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, connection.Close())
		}
	}()
	channel, err := connection.Channel()
	if err != nil {
		return nil, nil, err
	}
	// As the component that publishes declares it.
	if err := channel.ExchangeDeclare(topic, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return nil, nil, err
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, amqp.Table{"x-max-length": t.maxLen})
	if err != nil {
		return nil, nil, err
	}
	if err := channel.QueueBind(queue.Name, "", topic, false, nil); err != nil {
		return nil, nil, err
	}
	if err := channel.Qos(transientAhead, 0, false); err != nil {
		return nil, nil, err
	}
	deliveries, err := channel.Consume(queue.Name, "", false, true, false, false, nil)
	return connection, deliveries, err
}

// deliver hands messages over until ctx ends or the connection is lost.
func (t *transient) deliver(ctx context.Context, topic string, deliveries <-chan amqp.Delivery, handler pubsub.Handler) {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case d, open := <-deliveries:
			if !open {
				return
			}
			if err := handler(ctx, &pubsub.NewMessage{Data: d.Body, Topic: topic}); err != nil && ctx.Err() == nil {
				t.log.Debugf("a message of %s is not delivered again: %v", topic, err)
			}
			if n%transientEach == 0 {
				_ = d.Ack(true) // if it fails, the connection is lost, and deliveries end
			}
		}
	}
}
