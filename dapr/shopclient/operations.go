package shopclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// DeadLetter is an event that could not be handled. Of the last members only those of one letter read by itself are set.
type DeadLetter struct {
	ID               string    `json:"id"`
	Consumer         string    `json:"consumer"`
	Topic            string    `json:"topic"`
	EventID          string    `json:"eventId"`
	Type             string    `json:"type"`
	Subject          string    `json:"subject"`
	CorrelationID    string    `json:"correlationId"`
	Reason           string    `json:"reason"`
	FirstSeen        time.Time `json:"firstSeen"`
	Status           string    `json:"status"`
	Attempts         int       `json:"attempts"`
	LastAttemptAt    time.Time `json:"lastAttemptAt"`
	LastFailure      string    `json:"lastFailure"`
	Payload          string    `json:"payload"`
	PayloadTruncated bool      `json:"payloadTruncated"`
	Size             int       `json:"size"`
	Note             string    `json:"note"`
	DecidedAt        time.Time `json:"decidedAt"`
	DecidedBy        string    `json:"decidedBy"`

	PayloadEncoding string       `json:"payloadEncoding"` // text or base64
	History         []DeadAction `json:"history"`
	Forgotten       int          `json:"forgotten"`
}

// DeadAction is something that was done about a dead letter.
type DeadAction struct {
	Kind    string    `json:"kind"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	Outcome string    `json:"outcome"`
}

// DeadLetterFilter chooses dead letters; an empty member fits all.
type DeadLetterFilter struct {
	Consumer string    `json:"consumer,omitempty"`
	Topic    string    `json:"topic,omitempty"`
	Type     string    `json:"type,omitempty"`
	Reason   string    `json:"reason,omitempty"` // a part of it
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

func (f DeadLetterFilter) query() url.Values {
	values := url.Values{}
	for name, text := range map[string]string{"consumer": f.Consumer, "topic": f.Topic, "type": f.Type, "reason": f.Reason} {
		if text != "" {
			values.Set(name, text)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			values.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return values
}

// DeadLetters lists dead letters of a status ("" is any), newest first.
func (c *Client) DeadLetters(ctx context.Context, f DeadLetterFilter, status string, limit int, cursor string) (List[DeadLetter], error) {
	query := f.query()
	if status != "" {
		query.Set("status", status)
	}
	return getPage[DeadLetter](ctx, c, "/v1/ops/dead-letters", query, limit, cursor)
}

// getPage reads one page of a list.
func getPage[T any](ctx context.Context, c *Client, path string, query url.Values, limit int, cursor string) (List[T], error) {
	var list List[T]
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	err := c.Get(ctx, path, query, &list)
	return list, err
}

// DeadLetter reads one dead letter with its whole message and history.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	var letter DeadLetter
	err := c.Get(ctx, "/v1/ops/dead-letters/"+pathSegment(id), nil, &letter)
	return letter, err
}

// What can be done about dead letters, one or all of a filter.
const (
	Replay  = "replay"
	Discard = "discard"
)

// ActOnDeadLetter replays or discards one dead letter, for a reason that a replay may do without.
func (c *Client) ActOnDeadLetter(ctx context.Context, action, key, id, reason string) (DeadLetter, error) {
	var letter DeadLetter
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/ops/dead-letters/" + pathSegment(id) + "/" + action, key: key, body: reasonBody(reason),
		want: []int{http.StatusOK}, into: &letter,
	})
	return letter, err
}

func reasonBody(reason string) map[string]string {
	if reason == "" {
		return map[string]string{}
	}
	return map[string]string{"reason": reason}
}

// DeadLetterBatch replays or discards all dead letters of a filter.
type DeadLetterBatch struct {
	ID          string           `json:"id"`
	Action      string           `json:"action"`
	Status      string           `json:"status"` // running, finished or cancelled
	Filter      DeadLetterFilter `json:"filter"`
	PerSecond   int              `json:"perSecond"`
	Reason      string           `json:"reason"`
	RequestedBy string           `json:"requestedBy"`
	RequestedAt time.Time        `json:"requestedAt"`
	Scanned     int              `json:"scanned"`
	Done        int              `json:"done"`
	Failed      int              `json:"failed"`
	Failures    []struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
	} `json:"failures"`
	EndedAt time.Time `json:"endedAt"`
	EndedBy string    `json:"endedBy"`
}

// ActOnDeadLetters has all open dead letters of a filter replayed or discarded, at most perSecond a second (1 to 100; 0
// leaves it to the service).
func (c *Client) ActOnDeadLetters(ctx context.Context, action, key string, f DeadLetterFilter, perSecond int, reason string) (DeadLetterBatch, error) {
	body := map[string]any{"filter": f}
	if perSecond != 0 {
		body["perSecond"] = perSecond
	}
	if reason != "" {
		body["reason"] = reason
	}
	var batch DeadLetterBatch
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/ops/dead-letters/" + action, key: key, body: body, want: []int{http.StatusAccepted}, into: &batch,
	})
	return batch, err
}

// DeadLetterBatches lists batches of an action, newest first.
func (c *Client) DeadLetterBatches(ctx context.Context, action string, limit int, cursor string) (List[DeadLetterBatch], error) {
	return getPage[DeadLetterBatch](ctx, c, "/v1/ops/dead-letters/"+action+"s", url.Values{}, limit, cursor)
}

// DeadLetterBatch reads how far a batch of an action has come.
func (c *Client) DeadLetterBatch(ctx context.Context, action, id string) (DeadLetterBatch, error) {
	var batch DeadLetterBatch
	err := c.Get(ctx, "/v1/ops/dead-letters/"+action+"s/"+pathSegment(id), nil, &batch)
	return batch, err
}

// CancelDeadLetterBatch stops a batch of an action.
func (c *Client) CancelDeadLetterBatch(ctx context.Context, action, id string) (DeadLetterBatch, error) {
	var batch DeadLetterBatch
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/ops/dead-letters/" + action + "s/" + pathSegment(id) + "/cancel", want: []int{http.StatusOK}, into: &batch,
	})
	return batch, err
}

// WaitingOrders lists orders, as staff, that have waited at least so long, at a step and in a status (each may be
// empty). An order may be on more than one page.
func (c *Client) WaitingOrders(ctx context.Context, longer time.Duration, step, status string, limit int, cursor string) (List[Order], error) {
	query := url.Values{"waiting": {longer.String()}}
	if step != "" {
		query.Set("step", step)
	}
	if status != "" {
		query.Set("status", status)
	}
	return getPage[Order](ctx, c, "/v1/ops/orders", query, limit, cursor)
}

// RetryOrder has a waiting order tried again at once, as staff.
func (c *Client) RetryOrder(ctx context.Context, key, id, reason string) (Accepted, error) {
	return c.accept(ctx, call{
		method: http.MethodPost, path: "/v1/ops/orders/" + pathSegment(id) + "/retry", key: key, body: reasonBody(reason), want: []int{http.StatusAccepted},
	})
}

// CancelOrder cancels anybody's order that is not paid yet, as staff.
func (c *Client) CancelOrder(ctx context.Context, key, id, reason string) (Accepted, error) {
	return c.accept(ctx, call{
		method: http.MethodPost, path: "/v1/ops/orders/" + pathSegment(id) + "/cancel", key: key, body: reasonBody(reason), want: []int{http.StatusAccepted},
	})
}
