package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"caravan/internal/money"
	"caravan/test/apicheck"
)

// The answers of the API, as far as tests read them.
type (
	problemBody struct {
		Type          string `json:"type"`
		Detail        string `json:"detail"`
		CorrelationID string `json:"correlationId"`
		Errors        []struct {
			Field string `json:"field"`
			Code  string `json:"code"`
		} `json:"errors"`
	}
	userBody struct {
		ID    string   `json:"id"`
		Email string   `json:"email"`
		Name  string   `json:"name"`
		Roles []string `json:"roles"`
	}
	sessionBody struct {
		AccessToken  string `json:"accessToken"`
		RefreshToken string `json:"refreshToken"`
		ExpiresIn    int64  `json:"expiresIn"`
	}
	productBody struct {
		SKU       string      `json:"sku"`
		Name      string      `json:"name"`
		Category  string      `json:"category"`
		Price     money.Money `json:"price"`
		Available int64       `json:"available"`
		OnHand    int64       `json:"onHand"`
		Reserved  int64       `json:"reserved"`
	}
	walletBody struct {
		Balance   money.Money `json:"balance"`
		Held      money.Money `json:"held"`
		Available money.Money `json:"available"`
	}
	acceptedBody struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	lineBody struct {
		SKU       string      `json:"sku"`
		Quantity  int64       `json:"quantity"`
		UnitPrice money.Money `json:"unitPrice"`
		LineTotal money.Money `json:"lineTotal"`
	}
	orderBody struct {
		ID       string      `json:"id"`
		Status   string      `json:"status"`
		Reason   string      `json:"reason"`
		Lines    []lineBody  `json:"lines"`
		Total    money.Money `json:"total"`
		Refunded money.Money `json:"refunded"`
		Waiting  *struct {
			Step     string `json:"step"`
			Reason   string `json:"reason"`
			Attempts int    `json:"attempts"`
		} `json:"waiting"`
		Timeline []struct {
			Type     string    `json:"type"`
			Time     time.Time `json:"time"`
			Sequence int64     `json:"sequence"`
		} `json:"timeline"`
	}
	noticeBody struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Subject string `json:"subject"`
		Title   string `json:"title"`
		Body    string `json:"body"`
		ReadAt  string `json:"readAt"`
	}
	auditBody struct {
		Findings []finding        `json:"findings"`
		Counts   map[string]int64 `json:"counts"`
		Complete bool             `json:"complete"`
	}
	finding struct {
		Service   string `json:"service"`
		Invariant string `json:"invariant"`
		Key       string `json:"key"`
		Detail    string `json:"detail"`
	}
	listBody[T any] struct {
		Items []T    `json:"items"`
		Next  string `json:"next"`
	}
)

// terminal reports whether an order is finished.
func (o orderBody) terminal() bool {
	switch o.Status {
	case "confirmed", "rejected", "cancelled", "refunded":
		return true
	}
	return false
}

// fulfilled reports whether an order was successful.
func (o orderBody) fulfilled() bool { return o.Status == "confirmed" || o.Status == "refunded" }

// steps returns the types of the order's timeline.
func (o orderBody) steps() []string {
	var steps []string
	for _, moment := range o.Timeline {
		steps = append(steps, moment.Type)
	}
	return steps
}

// trail records the requests of a test.
type trail struct {
	mu       sync.Mutex
	requests []answer
}

func (t *trail) add(a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = append(t.requests, a)
}

// suspects returns the correlation ids of the most likely causes of a failure: the last requests, and those without a
// proper answer.
func (t *trail) suspects() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const last, failed = 3, 3
	var ids []string
	odd := 0
	for i := len(t.requests) - 1; i >= 0; i-- {
		a := t.requests[i]
		id := a.header.Get("X-Correlation-Id")
		strange := a.status >= http.StatusInternalServerError && odd < failed
		if id == "" || len(t.requests)-i > last && !strange {
			continue
		}
		if strange {
			odd++
		}
		ids = append(ids, id)
	}
	return ids
}

// client is one person at the gateway. It is safe for concurrent use.
type client struct {
	t     *testing.T
	base  string
	http  *http.Client
	trail *trail

	email, password string

	mu      sync.Mutex
	session sessionBody
	expires time.Time
}

// newClient makes a client that checks every exchange against the API's document.
func newClient(t *testing.T, s *stack, trail *trail) *client {
	pool := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(pool.CloseIdleConnections)
	checked := &apicheck.Transport{Next: pool, Document: s.document, Report: func(err error) { t.Error(err) }}
	return &client{t: t, base: s.GatewayURL(), http: &http.Client{Transport: checked, Timeout: 40 * time.Second}, trail: trail}
}

// answer is an answer of the gateway.
type answer struct {
	request string
	status  int
	header  http.Header
	body    []byte
}

func (a answer) String() string { return fmt.Sprintf("%s: %d %s", a.request, a.status, a.body) }

// into decodes the body.
func (a answer) into(t *testing.T, out any) {
	t.Helper()
	if err := json.Unmarshal(a.body, out); err != nil {
		t.Fatalf("%s is not what was expected: %v", a, err)
	}
}

// problem decodes the body of a refusal.
func (a answer) problem(t *testing.T) problemBody {
	t.Helper()
	var p problemBody
	a.into(t, &p)
	return p
}

// header is one header field of a request.
type header struct{ name, value string }

func idempotent(key string) header { return header{"Idempotency-Key", `"` + key + `"`} }

// send sends one request unchanged. A string body is sent literally.
func (c *client) send(method, path string, body any, headers ...header) (answer, error) {
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			return answer{}, fmt.Errorf("encoding a request: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(raw))
	if err != nil {
		return answer{}, err
	}
	if raw != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		request.Header.Set(h.name, h.value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{method + " " + path, response.StatusCode, response.Header, got}
	c.trail.add(a)
	return a, nil
}

// call sends a request as the person, and logs in again before the token expires.
func (c *client) call(method, path string, body any, headers ...header) (answer, error) {
	if c.email != "" {
		token, err := c.token()
		if err != nil {
			return answer{}, err
		}
		headers = append(headers, header{"Authorization", "Bearer " + token})
	}
	return c.send(method, path, body, headers...)
}

func (c *client) token() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.expires) > time.Minute {
		return c.session.AccessToken, nil
	}
	got, err := c.send(http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": c.password})
	if err != nil {
		return "", err
	}
	if got.status != http.StatusCreated {
		return "", fmt.Errorf("logging in: %s", got)
	}
	if err := json.Unmarshal(got.body, &c.session); err != nil {
		return "", fmt.Errorf("logging in: %w", err)
	}
	c.expires = time.Now().Add(time.Duration(c.session.ExpiresIn) * time.Second)
	return c.session.AccessToken, nil
}

// must calls and expects a status; out, if not nil, takes the body.
func (c *client) must(status int, method, path string, body, out any, headers ...header) answer {
	c.t.Helper()
	got, err := c.call(method, path, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got.status != status {
		c.t.Fatalf("%s; want %d", got, status)
	}
	if out != nil {
		got.into(c.t, out)
	}
	return got
}

// get reads a resource.
func (c *client) get(path string, out any) {
	c.t.Helper()
	c.must(http.StatusOK, http.MethodGet, path, nil, out)
}

// try reads a resource that may be unavailable now, for example after a fault.
func (c *client) try(path string, out any) error {
	got, err := c.call(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return errors.New(got.String())
	}
	if err := json.Unmarshal(got.body, out); err != nil {
		return fmt.Errorf("%s: %w", got, err)
	}
	return nil
}

// all reads every page of a list.
func all[T any](c *client, path string) []T {
	c.t.Helper()
	items, err := tryAll[T](c, path)
	if err != nil {
		c.t.Fatal(err)
	}
	return items
}

// tryAll is like all, with an error as in try.
func tryAll[T any](c *client, path string) ([]T, error) {
	var items []T
	for cursor := ""; ; {
		var page listBody[T]
		if err := c.try(path+"?limit=100"+cursor, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == "" {
			return items, nil
		}
		cursor = "&cursor=" + url.QueryEscape(page.Next)
	}
}
