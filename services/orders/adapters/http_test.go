package adapters

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"caravan/internal/document"
	"caravan/internal/problem"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/orders/app"
	"caravan/services/orders/domain"
	users "caravan/services/users/contract"
)

const anOrder = "0197a000-0000-7000-8000-00000000000a"

// send sends one request of a caller who may do everything to routes that have nothing behind them: what gets past the
// adapters panics.
func send(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	var server servicetest.Server
	API{}.Register(&server)
	return server.Do(t, servicetest.Request{
		Method: method, Target: path, Body: body, Header: map[string]string{"Idempotency-Key": "key"},
		Caller: token.Claims{Subject: anOrder, Permissions: users.PermissionsOf(users.Roles())},
	})
}

// A SKU becomes a key of products and part of what the audit asks, so what cannot be one is refused at the door.
func TestASKUThatCannotBeOneIsNotOrdered(t *testing.T) {
	for _, sku := range []string{`a||b`, `A||B`, `TEA\u0000`, `tea`, `-TEA`, `T`, `TEA/1`, `TEA 1`, ` TEA-1`, `TÉA`, strings.Repeat("A", 33)} {
		p := servicetest.Problem(t, send(t, "POST", "/v1/orders", `{"items":[{"sku":"OK-1","quantity":1},{"sku":"`+sku+`","quantity":1}]}`))
		if p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != "items[1].sku" || p.Errors[0].Code != "sku" {
			t.Errorf("%s: %v", sku, p)
		}
	}
}

// TestHowLongToWaitIsChecked: both requests that can be held back refuse the same waits.
func TestHowLongToWaitIsChecked(t *testing.T) {
	for _, wait := range []string{"11s", "10001ms", "-1s", "5", "x", "1h"} {
		for method, path := range map[string]string{"POST": "/v1/orders", "GET": "/v1/orders/" + anOrder} {
			p := servicetest.Problem(t, send(t, method, path+"?wait="+wait, `{"items":[{"sku":"OK-1","quantity":1}]}`))
			if p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != "wait" || p.Errors[0].Code != "duration" {
				t.Errorf("%s with %s: %v", method, wait, p)
			}
		}
	}
}

// TestAnIDThatCannotBeOneIsNotFound: what cannot be the id of an order is that of none.
func TestAnIDThatCannotBeOneIsNotFound(t *testing.T) {
	for _, path := range []string{"/v1/orders/%s", "/v1/orders/%s/cancel", "/v1/orders/%s/refund", "/v1/ops/orders/%s/retry", "/v1/ops/orders/%s/cancel"} {
		for _, bad := range []string{"x", "a||b", "\x00", strings.ToUpper(anOrder), strings.Repeat("a", 5000)} {
			method := "POST"
			if strings.HasSuffix(path, "%s") {
				method = "GET"
			}
			if w := send(t, method, fmt.Sprintf(path, url.PathEscape(bad)), `{"reason":"x"}`); servicetest.Problem(t, w).Slug() != "not-found" {
				t.Errorf("%s of %.20q: %d %s", path, bad, w.Code, w.Body)
			}
		}
	}
}

// Customers and staff see the reasons, so these are one line of text that can be seen.
func TestReasonsAreText(t *testing.T) {
	for _, path := range []string{"/v1/orders/" + anOrder + "/refund", "/v1/ops/orders/" + anOrder + "/retry", "/v1/ops/orders/" + anOrder + "/cancel"} {
		for _, reason := range []string{`a\u0000b`, `\u001b[31mred`, `a\nb`, `\u202egnp.exe`, `\u200b`, `   `} {
			p := servicetest.Problem(t, send(t, "POST", path, `{"reason":"`+reason+`"}`))
			if p.Status != 400 || p.Errors[0].Field != "reason" {
				t.Errorf("%s because of %s: %v", path, reason, p)
			}
		}
	}
}

// A step that there is not would find nothing for ever, so it is refused, with the names of those that there are.
func TestAStepThatThereIsNotIsRefused(t *testing.T) {
	steps := app.Participants{}.Checkout().Steps()
	if got := strings.Join(steps, ", "); got != "authorize, capture, pivot, refund, reserve, undo, undo authorize, undo reserve" {
		t.Errorf("orders can wait at %s; gateway/openapi.yaml names others", got)
	}
	ask := func(step string) error {
		query := url.Values{"waiting": {""}, "step": {step}}
		_, err := orderFilter(httptest.NewRequest(http.MethodGet, "/?"+query.Encode(), nil), steps)
		return err
	}
	for _, step := range steps {
		if err := ask(step); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	for _, step := range []string{"nosuch", "Capture", "undo pivot", strings.Repeat("x", 1000)} {
		p := problem.From(ask(step))
		if p.Status != http.StatusBadRequest || len(p.Errors) != 1 || p.Errors[0].Field != "step" || !strings.Contains(p.Errors[0].Message, "undo authorize") {
			t.Errorf("%.20s: %+v", step, p)
		}
	}
}

// TestAllFaultsOfAnOrderAreReported: rules of tags and rules about several members together.
func TestAllFaultsOfAnOrderAreReported(t *testing.T) {
	p := servicetest.Problem(t, send(t, "POST", "/v1/orders", `{"items":[{"sku":"TEA","quantity":1},{"sku":"TEA","quantity":0},{"sku":"TEA","quantity":2}],`+
		`"expectedTotal":{"amount":-1,"currency":"EUR"}}`))
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Field+" "+e.Code)
	}
	if want := "items[1].quantity min, items[1].sku duplicate, items[2].sku duplicate, expectedTotal.amount min"; strings.Join(got, ", ") != want {
		t.Errorf("found %q; want %s", got, want)
	}
	p = servicetest.Problem(t, send(t, "POST", "/v1/orders/"+anOrder+"/refund", `{"amount":{"amount":0,"currency":"EUR"},"reason":""}`))
	if len(p.Errors) != 2 || p.Errors[0].Field != "reason" || p.Errors[1].Field != "amount.amount" {
		t.Errorf("a refund has the faults %+v", p.Errors)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		slug   string
		detail string
	}{
		{domain.ErrFingerprint, 422, "idempotency-key-reused", "another request"},
		{&domain.PastPivotError{OrderID: anOrder}, 409, "order-past-cancelling", "POST /v1/orders/" + anOrder + "/refund"},
		{domain.ErrEnded, 409, "order-ended", "ended"},
		{domain.ErrNotRefundable, 409, "order-not-confirmed", "confirmed"},
		{domain.ErrRefundUnderWay, 409, "refund-under-way", "refund"},
		{domain.ErrRefundAmount, 422, "refund-amount", "left to refund"},
		{domain.ErrTooManyRefunds, 422, "too-many-refunds", "no more"},
		{document.ErrNotFound, 404, "not-found", ""},
		{domain.ErrTransition, 500, "internal", ""},
	} {
		p := problem.From(problemOf(fmt.Errorf("doing: %w", c.err)))
		if p.Status != c.status || p.Slug() != c.slug || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%v becomes %v", c.err, p)
		}
	}
}
