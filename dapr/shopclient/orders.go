package shopclient

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/money"
)

// Item is a line of an order as it is placed.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Placement is an order to be placed.
type Placement struct {
	Items         []Item       `json:"items"`
	ExpectedTotal *money.Money `json:"expectedTotal,omitempty"`
}

// Accepted is the answer to a placed, cancelled or refunded order.
type Accepted struct {
	ID     string `json:"id"`
	Status string `json:"status"`

	Location      string `json:"-"`
	CorrelationID string `json:"-"` // finds what the request caused, in every log
	TraceParent   string `json:"-"`
}

// Order is one order.
type Order struct {
	ID        string       `json:"id"`
	UserID    string       `json:"userId"`
	Status    string       `json:"status"`
	Reason    string       `json:"reason"`
	Lines     []Line       `json:"lines"`
	Total     *money.Money `json:"total"`
	Refunded  *money.Money `json:"refunded"`
	Waiting   *Waiting     `json:"waiting"`
	PlacedAt  time.Time    `json:"placedAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
	Timeline  []Moment     `json:"timeline"`
}

// Line is a line of an order; prices are known once it is reserved.
type Line struct {
	SKU       string       `json:"sku"`
	Name      string       `json:"name"`
	Quantity  int64        `json:"quantity"`
	UnitPrice *money.Money `json:"unitPrice"`
	LineTotal *money.Money `json:"lineTotal"`
}

// Waiting says what an order waits for.
type Waiting struct {
	Step          string    `json:"step"`
	Reason        string    `json:"reason"`
	Attempts      int       `json:"attempts"`
	NextAttemptAt time.Time `json:"nextAttemptAt"`
	Since         time.Time `json:"since"`      // for staff who look for waiting orders
	AgeSeconds    int64     `json:"ageSeconds"` // the same
}

// Moment is one event of an order's timeline.
type Moment struct {
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	Sequence int64     `json:"sequence"`
	Detail   string    `json:"detail"`
	By       string    `json:"by"`   // who of the staff intervened, for staff
	Note     string    `json:"note"` // and why
}

// Ended reports whether the order has come to an end.
func (o Order) Ended() bool {
	return slices.Contains([]string{"confirmed", "rejected", "cancelled", "refunded"}, o.Status)
}

// PlaceOrder places an order under an idempotency key of the caller's choice.
func (c *Client) PlaceOrder(ctx context.Context, key string, placement Placement) (Accepted, error) {
	return c.accept(ctx, call{
		method: http.MethodPost, path: "/v1/orders", body: placement, key: key, want: []int{http.StatusAccepted},
	})
}

// Cancel asks for an order to be cancelled.
func (c *Client) Cancel(ctx context.Context, id string) (Accepted, error) {
	return c.accept(ctx, call{
		method: http.MethodPost, path: "/v1/orders/" + pathSegment(id) + "/cancel", want: []int{http.StatusAccepted},
	})
}

// Refund asks for money back for an order, as staff; nil is all that is left.
func (c *Client) Refund(ctx context.Context, key, id string, amount *money.Money, reason string) (Accepted, error) {
	body := map[string]any{"reason": reason}
	if amount != nil {
		body["amount"] = amount
	}
	return c.accept(ctx, call{
		method: http.MethodPost, path: "/v1/orders/" + pathSegment(id) + "/refund", body: body, key: key, want: []int{http.StatusAccepted},
	})
}

func (c *Client) accept(ctx context.Context, in call) (Accepted, error) {
	var accepted Accepted
	in.into = &accepted
	header, err := c.do(ctx, in)
	if err != nil {
		return Accepted{}, err
	}
	accepted.Location = header.Get("Location")
	accepted.CorrelationID = header.Get(correlation.Header)
	accepted.TraceParent = header.Get("traceparent")
	return accepted, nil
}

// Order reads an order. With a wait (up to 10 s) the answer is held back until
// the order has come to an end, or the wait is over.
func (c *Client) Order(ctx context.Context, id string, wait time.Duration) (Order, error) {
	var order Order
	in := call{method: http.MethodGet, path: "/v1/orders/" + pathSegment(id), want: []int{http.StatusOK}, into: &order}
	if wait > 0 {
		in.query = url.Values{"wait": {wait.String()}}
	}
	_, err := c.do(ctx, in)
	return order, err
}

// AwaitOrder reads an order until it has come to an end or the context ends.
func (c *Client) AwaitOrder(ctx context.Context, id string) (Order, error) {
	for {
		order, err := c.Order(ctx, id, 10*time.Second)
		if err != nil || order.Ended() {
			return order, err
		}
		if err := ctx.Err(); err != nil {
			return order, err
		}
	}
}

// Orders lists the user's own orders, newest first.
func (c *Client) Orders(ctx context.Context, limit int, cursor string) (List[Order], error) {
	var list List[Order]
	values := url.Values{}
	if limit != 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		values.Set("cursor", cursor)
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/orders", query: values, want: []int{http.StatusOK}, into: &list})
	return list, err
}
