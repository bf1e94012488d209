package request

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/internal/problem"
)

func TestFunction(t *testing.T) {
	sold := errors.New("sold out")
	double := Function(func(_ context.Context, in line) (line, error) {
		if in.SKU == "GONE" {
			return line{}, sold
		}
		return line{SKU: in.SKU, Quantity: 2 * in.Quantity}, nil
	}, WithLimit(64))
	call := func(body string) (string, error) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		answer, err := double(r)
		if err != nil {
			return "", err
		}
		w := httptest.NewRecorder()
		answer.Write(w)
		return w.Body.String(), nil
	}
	if answer, err := call(`{"sku":"A","quantity":2}`); err != nil || answer != `{"sku":"A","quantity":4}` {
		t.Errorf("answers %s, %v", answer, err)
	}
	if _, err := call(`{"sku":"GONE","quantity":2}`); !errors.Is(err, sold) {
		t.Errorf("its own error is %v", err)
	}
	for body, status := range map[string]int{`{"sku":"A","quantity":0}`: 400, `{"sku":"` + strings.Repeat("A", 64) + `","quantity":1}`: 413} {
		if _, err := call(body); problem.From(err).Status != status {
			t.Errorf("%s: %v; want %d", body, err, status)
		}
	}
}
