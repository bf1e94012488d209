package sidecar

import (
	"context"
	"errors"
	"fmt"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"

	"caravan/internal/event"
)

// LiveName is the Dapr component through which every replica hears of events by itself, and not as one of the consumers that share
// them.
const LiveName = "live"

// Listen passes the events of a topic on that are published while it runs. It subscribes through the component LiveName, so that
// other replicas get the same events. Events may be lost, and heartbeats are left out. ready is called when the subscription is
// there. Listen returns when ctx ends or the subscription fails; then the subscription is gone.
//
// It uses the sidecar's API and not the function of the SDK, which drops the time and the extension attributes of an event
// (https://docs.dapr.io/reference/api/pubsub_api/).
func (c *Client) Listen(ctx context.Context, topic string, ready func(), take func(event.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.sdk.GrpcClient().SubscribeTopicEventsAlpha1(ctx)
	if err != nil {
		return fmt.Errorf("listening to %s: %w", topic, err)
	}
	// A raw payload is the event as it was published. The sidecar need not read it.
	initial := &runtime.SubscribeTopicEventsRequestInitialAlpha1{PubsubName: LiveName, Topic: topic, Metadata: map[string]string{"rawPayload": "true"}}
	if err := stream.Send(&runtime.SubscribeTopicEventsRequestAlpha1{
		SubscribeTopicEventsRequestType: &runtime.SubscribeTopicEventsRequestAlpha1_InitialRequest{InitialRequest: initial},
	}); err != nil {
		return fmt.Errorf("listening to %s: %w", topic, err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("listening to %s: %w", topic, err)
	}
	if answer.GetInitialResponse() == nil {
		return fmt.Errorf("listening to %s: %w", topic, errors.New("the sidecar did not confirm the subscription"))
	}
	ready()
	for {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("listening to %s: %w", topic, err)
		}
		delivered := message.GetEventMessage()
		if e, err := event.Parse(delivered.GetData()); err == nil && e.Type != HeartbeatType {
			take(e)
		}
		if err := stream.Send(processed(delivered.GetId())); err != nil {
			return fmt.Errorf("listening to %s: %w", topic, err)
		}
	}
}

// processed tells the sidecar that it may forget a delivery.
func processed(id string) *runtime.SubscribeTopicEventsRequestAlpha1 {
	return &runtime.SubscribeTopicEventsRequestAlpha1{
		SubscribeTopicEventsRequestType: &runtime.SubscribeTopicEventsRequestAlpha1_EventProcessed{
			EventProcessed: &runtime.SubscribeTopicEventsRequestProcessedAlpha1{
				Id: id, Status: &runtime.TopicEventResponse{Status: runtime.TopicEventResponse_SUCCESS},
			},
		},
	}
}
