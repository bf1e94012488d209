package sidecar

import (
	"context"
	"fmt"

	dapr "github.com/dapr/go-sdk/client"

	"caravan/internal/event"
)

type publisher struct{ sdk dapr.Client }

// Publish implements feed.Publisher. Each CloudEvent contains its trace context and correlation id.
func (p publisher) Publish(ctx context.Context, topic string, events []event.Event) error {
	entries := make([]any, len(events))
	for i, e := range events {
		body, err := e.CloudEvent()
		if err != nil {
			return err
		}
		entries[i] = dapr.PublishEventsEvent{
			EntryID: e.ID, Data: body, ContentType: event.ContentType,
			// Brokers with partitions keep the events of one aggregate in order.
			Metadata: map[string]string{"partitionKey": e.Subject},
		}
	}
	response := p.sdk.PublishEvents(ctx, PubSubName, topic, entries)
	if response.Error != nil {
		return fmt.Errorf("publishing to %s: %w", topic, response.Error)
	}
	return nil
}
