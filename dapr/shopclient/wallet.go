package shopclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"caravan/internal/money"
)

// Wallet is a user's wallet.
type Wallet struct {
	Balance   money.Money `json:"balance"`
	Held      money.Money `json:"held"`
	Available money.Money `json:"available"`
}

// Deposit is money paid into a wallet.
type Deposit struct {
	ID        string      `json:"id"`
	Status    string      `json:"status"`
	Amount    money.Money `json:"amount"`
	Reason    string      `json:"reason"`
	CreatedAt time.Time   `json:"createdAt"`
}

// The sources of the test bank.
const (
	SourceOK       = "tok_ok"
	SourceDeclined = "tok_declined"
	SourceTimeout  = "tok_timeout"
)

// Wallet reads the user's wallet.
func (c *Client) Wallet(ctx context.Context) (Wallet, error) {
	var wallet Wallet
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/wallet", want: []int{http.StatusOK}, into: &wallet})
	return wallet, err
}

// Deposit pays money in from a source; while the bank has not answered the
// deposit is pending.
func (c *Client) Deposit(ctx context.Context, key string, amount money.Money, source string) (Deposit, error) {
	var deposit Deposit
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/wallet/deposits", key: key, want: []int{http.StatusCreated, http.StatusAccepted}, into: &deposit,
		body: map[string]any{"amount": amount.Amount, "currency": amount.Currency, "source": source},
	})
	return deposit, err
}

// Notification is an entry of a user's inbox.
type Notification struct {
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Subject    string    `json:"subject"`
	Title      string    `json:"title"`
	Body       string    `json:"body"`
	CreatedAt  time.Time `json:"createdAt"`
	OccurredAt time.Time `json:"occurredAt"`
	ReadAt     time.Time `json:"readAt"`
	Data       struct {
		OrderID string      `json:"orderId"`
		Amount  money.Money `json:"amount"`
		Reason  string      `json:"reason"`
	} `json:"data"`
}

// Notifications lists the user's inbox, newest first.
func (c *Client) Notifications(ctx context.Context, limit int, cursor string) (List[Notification], error) {
	var list List[Notification]
	values := url.Values{}
	if limit != 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		values.Set("cursor", cursor)
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/notifications", query: values, want: []int{http.StatusOK}, into: &list})
	return list, err
}

// MarkRead marks an entry of the inbox as read.
func (c *Client) MarkRead(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/notifications/" + pathSegment(id) + "/read", want: []int{http.StatusNoContent},
	})
	return err
}

// Get reads any path of the API into a value, for calls that have no method here.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, want: []int{http.StatusOK}, into: into})
	return err
}
