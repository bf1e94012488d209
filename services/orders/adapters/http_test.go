package adapters

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"caravan/internal/document"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/token"
	"caravan/services/orders/app"
	users "caravan/services/users/contract"
)

const anOrder = "0197a000-0000-7000-8000-00000000000a"

// call is one request of a caller who may do everything, to a handler of an API that has nothing behind it: what gets
// past the adapters panics.
func call(t *testing.T, handle request.Handler, orderID, body string) error {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "key")
	r.SetPathValue("id", orderID)
	all := users.PermissionsOf(users.Roles())
	_, err := handle(r.WithContext(token.With(r.Context(), token.Claims{Subject: anOrder, Permissions: all})))
	return err
}

// A SKU becomes a key of products and part of what the audit asks, so what cannot be one is refused at the door.
func TestASKUThatCannotBeOneIsNotOrdered(t *testing.T) {
	for _, sku := range []string{`a||b`, `A||B`, `TEA\u0000`, `tea`, `-TEA`, `T`, `TEA/1`, `TEA 1`, ` TEA-1`, `TÉA`, strings.Repeat("A", 33)} {
		err := call(t, API{}.place, "", `{"items":[{"sku":"OK-1","quantity":1},{"sku":"`+sku+`","quantity":1}]}`)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != "items[1].sku" || p.Errors[0].Code != "sku" {
			t.Errorf("%s: %v", sku, err)
		}
	}
}

// What cannot be the id of an order is that of none.
func TestAnIDThatCannotBeOneIsNotFound(t *testing.T) {
	for name, handle := range map[string]request.Handler{
		"show": API{}.show, "cancel": API{}.cancel, "refund": API{}.refund, "retry": Operations{}.retry, "cancel by staff": Operations{}.cancel,
	} {
		for _, bad := range []string{"", "x", "a||b", "\x00", strings.ToUpper(anOrder), strings.Repeat("a", 5000)} {
			if err := call(t, handle, bad, `{"reason":"x"}`); !errors.Is(err, document.ErrNotFound) {
				t.Errorf("%s of %.20q: %v", name, bad, err)
			}
		}
	}
}

// Customers and staff see the reasons, so these are one line of text that can be seen.
func TestReasonsAreText(t *testing.T) {
	for name, handle := range map[string]request.Handler{
		"refund": API{}.refund, "retry": Operations{}.retry, "cancel": Operations{}.cancel,
	} {
		for _, reason := range []string{`a\u0000b`, `\u001b[31mred`, `a\nb`, `\u202egnp.exe`, `\u200b`, `   `} {
			err := call(t, handle, anOrder, `{"reason":"`+reason+`"}`)
			var p *problem.Problem
			if !errors.As(err, &p) || p.Status != 400 || p.Errors[0].Field != "reason" {
				t.Errorf("%s because of %s: %v", name, reason, err)
			}
		}
	}
}

// A step that there is not would find nothing for ever, so it is refused, with the names of those that there are.
func TestAStepThatThereIsNotIsRefused(t *testing.T) {
	steps := app.Participants{}.Checkout().Waits()
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
