package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	dapr "github.com/dapr/go-sdk/client"

	"caravan/internal/event"
)

// HeartbeatType is the type of the events that a consumer publishes to a topic only to receive them. The application's
// handlers do not get them.
const HeartbeatType = "caravan.heartbeat.v1"

// heartbeatLife is how long a broker that can expire messages keeps a heartbeat that was not delivered. So heartbeats
// do not collect in the queue of a dead subscription.
const heartbeatLife = time.Minute

// Heartbeat is a message that a replica sends through the broker to the consumers of a topic, which include itself.
type Heartbeat struct {
	// App is the consumer's app id.
	App string
	// Replica identifies the replica among those of the consumer.
	Replica string
	// Number counts the heartbeats of a replica from 1.
	Number int64
	// Time is when the heartbeat was sent.
	Time time.Time
}

// SendHeartbeat publishes a heartbeat to a topic. As with every publish, success means that the sidecar accepted it,
// not that the broker has it.
func (c *Client) SendHeartbeat(ctx context.Context, topic string, h Heartbeat) error {
	e := event.Event{
		ID: event.ID(h.App, h.Replica, h.Number), Type: HeartbeatType, Source: h.App, Subject: h.Replica, Sequence: h.Number, Time: h.Time,
	}
	body, err := e.CloudEvent()
	if err != nil {
		return err
	}
	response := c.sdk.PublishEvents(ctx, PubSubName, topic, []any{dapr.PublishEventsEvent{
		EntryID: e.ID, Data: body, ContentType: event.ContentType,
		Metadata: map[string]string{
			// Each heartbeat has its own key, so a broker with partitions distributes them over all partitions.
			"partitionKey": e.ID,
			"ttlInSeconds": strconv.Itoa(int(heartbeatLife.Seconds())),
		},
	}})
	if response.Error != nil {
		return fmt.Errorf("publishing a heartbeat to %s: %w", topic, response.Error)
	}
	return nil
}

// IsHeartbeat reports whether a delivery is a heartbeat, either as an event or in the envelope that the sidecar adds to
// a raw delivery.
func IsHeartbeat(delivery []byte) bool {
	if !bytes.Contains(delivery, []byte(`"data_base64"`)) && !bytes.Contains(delivery, []byte(HeartbeatType)) {
		return false // most events need not be decoded
	}
	var envelope struct {
		Type string `json:"type"`
		Raw  []byte `json:"data_base64"`
	}
	if json.Unmarshal(delivery, &envelope) != nil {
		return false
	}
	if envelope.Type == HeartbeatType || len(envelope.Raw) == 0 {
		return envelope.Type == HeartbeatType
	}
	inner := envelope.Raw
	envelope.Type = ""
	return json.Unmarshal(inner, &envelope) == nil && envelope.Type == HeartbeatType
}

// Shutdown asks the sidecar to stop (https://docs.dapr.io/reference/api/health_api/), at once if force is set. Its
// supervisor starts it again.
func (c *Client) Shutdown(ctx context.Context, force bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1.0/shutdown", nil)
	if err != nil {
		return fmt.Errorf("asking the sidecar to end: %w", err)
	}
	request.Header.Set(tokenHeader, c.opts.Token)
	if force {
		request.Header.Set("dapr-force-shutdown", "true")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking the sidecar to end: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // only for the error text
		return fmt.Errorf("asking the sidecar to end: status %d: %s", response.StatusCode, body)
	}
	return nil
}
