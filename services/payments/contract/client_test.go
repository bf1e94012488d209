package contract_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"caravan/internal/invoke"
	"caravan/internal/money"
	"caravan/internal/request"
	"caravan/services/payments/contract"
)

// fakeInvoker calls handlers in memory.
type fakeInvoker struct{ mux *http.ServeMux }

func (f fakeInvoker) Invoke(ctx context.Context, app, path string, in, out any) error {
	if app != contract.App {
		return fmt.Errorf("called %s", app)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	w := httptest.NewRecorder()
	f.mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body)))
	if w.Code != http.StatusOK {
		return &invoke.Error{App: app, Path: path, Status: w.Code}
	}
	b, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func serve[C, R any](mux *http.ServeMux, path string, handle func(context.Context, C) (R, error)) {
	h := invoke.Serve(slog.New(slog.DiscardHandler), handle)
	mux.HandleFunc("POST "+path, request.HTTP(h))
}

// Commands and outcomes reach the other side whole, each caller getting the answer to its own command.
func TestClientCarriesCommandsAndOutcomes(t *testing.T) {
	placed := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	mux := http.NewServeMux()
	serve(mux, contract.PathAuthorize, func(_ context.Context, c contract.Authorize) (contract.Authorized, error) {
		if c.Amount != money.New(7, "EUR") || !c.PlacedAt.Equal(placed) {
			return contract.Authorized{}, errors.New("the command changed on its way")
		}
		return contract.Authorized{Outcome: c.UserID + c.OrderID}, nil
	})
	serve(mux, contract.PathCapture, func(_ context.Context, c contract.Capture) (contract.Captured, error) {
		return contract.Captured{Outcome: contract.OutcomeCaptured}, nil
	})
	serve(mux, contract.PathVoid, func(_ context.Context, c contract.Void) (contract.Voided, error) {
		return contract.Voided{Outcome: contract.OutcomeVoided}, nil
	})
	serve(mux, contract.PathRefund, func(_ context.Context, c contract.Refund) (contract.Refunded, error) {
		return contract.Refunded{}, errors.New("not now")
	})
	client := contract.NewClient(fakeInvoker{mux})
	ctx := t.Context()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := fmt.Sprint(i)
			got, err := client.Authorize(ctx, contract.Authorize{OrderID: id, UserID: "u", Amount: money.New(7, "EUR"), PlacedAt: placed})
			if err != nil || got.Outcome != "u"+id {
				t.Errorf("authorize %d: %+v, %v", i, got, err)
			}
		})
	}
	all.Wait()
	if got, err := client.Capture(ctx, contract.Capture{}); err != nil || got.Outcome != contract.OutcomeCaptured {
		t.Errorf("capture: %+v, %v", got, err)
	}
	if got, err := client.Void(ctx, contract.Void{}); err != nil || got.Outcome != contract.OutcomeVoided {
		t.Errorf("void: %+v, %v", got, err)
	}
	if _, err := client.Refund(ctx, contract.Refund{}); !errors.Is(err, invoke.ErrUnavailable) {
		t.Errorf("refund: %v; want unavailable", err)
	}
}
