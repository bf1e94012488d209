package adapters_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/payments/adapters"
	"caravan/services/payments/adapters/testbank"
	"caravan/services/payments/app"
	"caravan/services/payments/audit"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
	users "caravan/services/users/contract"
)

const (
	alice = "0197a000-0000-7000-8000-00000000000a"
	bob   = "0197a000-0000-7000-8000-00000000000b"
)

// fakeServer serves the routes of payments over a store in memory.
type fakeServer struct {
	t testing.TB
	servicetest.Server
}

func newServer(t testing.TB) *fakeServer {
	store, log := documenttest.NewStore(), slog.New(slog.DiscardHandler)
	opts := document.Options{Source: "payments", Clock: clock.System{}, IDs: id.Random{}}
	bank := testbank.New(store, clock.System{}, id.Random{}, 0)
	ledger := app.NewLedger(store, opts, "EUR", domain.DefaultLimits())
	deposits := app.NewDeposits(ledger, store, opts, bank, log, time.Second)
	reader := feed.NewReader(store, clock.System{}, feed.DefaultTiming())
	s := &fakeServer{t: t}
	adapters.API{
		ShowWallet: app.ShowWallet{Ledger: ledger}, ListPostings: app.ListPostings{Ledger: ledger},
		Deposit: app.Deposit{Deposits: deposits}, ShowDeposit: app.ShowDeposit{Deposits: deposits},
		Authorize: app.Authorize{Ledger: ledger}, Capture: app.Capture{Ledger: ledger}, Void: app.Void{Ledger: ledger}, Refund: app.Refund{Ledger: ledger},
		Audit: audit.Audit{
			Ledger: ledger, Deposits: deposits, Bank: bank, Feed: reader, Clock: clock.System{},
			Trail: feed.Trail{Store: store, Source: "payments", Coverage: feed.NewCoverage(reader)},
		},
		Log: log,
	}.Register(s)
	return s
}

// call is one request; its zero value asks for Alice's wallet.
type call struct {
	method, path, body string
	user               string
	permissions        []string
	header             map[string]string
}

func (s *fakeServer) do(c call) *httptest.ResponseRecorder {
	s.t.Helper()
	q := servicetest.Request{Method: c.method, Target: c.path, Body: c.body, Header: c.header}
	if c.user != "" {
		q.Caller = token.Claims{Subject: c.user, Permissions: c.permissions}
		if c.permissions == nil {
			q.Caller.Permissions = []string{users.PermissionWalletUse}
		}
	}
	return s.Do(s.t, q)
}

func (s *fakeServer) deposit(user, key, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do(call{method: "POST", path: "/v1/wallet/deposits", body: body, user: user, header: map[string]string{"Idempotency-Key": key}})
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil && err != io.EOF {
		t.Fatalf("decoding the answer: %v", err)
	}
	return v
}

type wallet struct{ Balance, Held, Available money.Money }

type deposit struct {
	ID, Status, Reason string
	Amount             money.Money
	CreatedAt          time.Time
}

func TestAWalletIsEmptyAtFirst(t *testing.T) {
	w := newServer(t).do(call{method: "GET", path: "/v1/wallet", user: alice})
	none := money.New(0, "EUR")
	if got := decode[wallet](t, w); w.Code != 200 || got != (wallet{none, none, none}) {
		t.Errorf("got %d %+v", w.Code, got)
	}
}

func TestDepositAnswers(t *testing.T) {
	for _, c := range []struct {
		source        string
		first, repeat int
		balance       int64
	}{
		{"tok_ok", 201, 201, 500},
		{"tok_timeout", 202, 201, 500},
		{"tok_declined", 422, 422, 0},
	} {
		t.Run(c.source, func(t *testing.T) {
			s := newServer(t)
			body := `{"amount":500,"currency":"EUR","source":"` + c.source + `"}`
			first := s.deposit(alice, `"key-1"`, body)
			if first.Code != c.first {
				t.Fatalf("first: %d %s; want %d", first.Code, first.Body, c.first)
			}
			repeat := s.deposit(alice, "key-1", body)
			if repeat.Code != c.repeat {
				t.Fatalf("repeat: %d %s; want %d", repeat.Code, repeat.Body, c.repeat)
			}
			if c.repeat == 201 {
				d := decode[deposit](t, repeat)
				location := repeat.Header().Get("Location")
				if d.Status != "succeeded" || d.Amount != money.New(500, "EUR") || location != "/v1/wallet/deposits/"+d.ID {
					t.Errorf("got %+v at %s", d, location)
				}
				if first.Header().Get("Location") != location {
					t.Error("the repeat made another deposit")
				}
				if again := s.do(call{method: "GET", path: location, user: alice}); again.Code != 200 {
					t.Errorf("reading it: %d", again.Code)
				}
				if other := s.do(call{method: "GET", path: location, user: bob}); other.Code != 404 {
					t.Errorf("another user reads it: %d; want 404", other.Code)
				}
			}
			got := decode[wallet](t, s.do(call{method: "GET", path: "/v1/wallet", user: alice}))
			if got.Balance.Amount != c.balance || got.Available.Amount != c.balance {
				t.Errorf("wallet is %+v; want %d", got, c.balance)
			}
		})
	}
}

func TestDeclineIsAProblem(t *testing.T) {
	w := newServer(t).deposit(alice, "k", `{"amount":500,"currency":"EUR","source":"tok_declined"}`)
	p := decode[problem.Problem](t, w)
	if p.Slug() != "payment-declined" || p.Extra["reason"] != "declined_by_issuer" || p.Extra["depositId"] == "" {
		t.Errorf("got %+v", p)
	}
	if got := w.Header().Get("Content-Type"); got != problem.ContentType {
		t.Errorf("content type %s", got)
	}
}

func TestBadInputIsNamed(t *testing.T) {
	good := `{"amount":500,"currency":"EUR","source":"tok_ok"}`
	key := map[string]string{"Idempotency-Key": "k"}
	post := func(body string) call {
		return call{method: "POST", path: "/v1/wallet/deposits", body: body, user: alice, header: key}
	}
	s := newServer(t)
	if w := s.deposit(alice, "used", good); w.Code != 201 {
		t.Fatal(w.Body)
	}
	for _, c := range []struct {
		name   string
		call   call
		status int
		field  string
	}{
		{"no token", call{method: "POST", path: "/v1/wallet/deposits", body: good, header: key}, 401, ""},
		{"no permission", call{method: "GET", path: "/v1/wallet", user: alice, permissions: []string{"other"}}, 403, ""},
		{"no key", call{method: "POST", path: "/v1/wallet/deposits", body: good, user: alice}, 400, "Idempotency-Key"},
		{"a bad key", call{method: "POST", path: "/v1/wallet/deposits", body: good, user: alice, header: map[string]string{"Idempotency-Key": `"`}}, 400, "Idempotency-Key"},
		{"a used key", call{method: "POST", path: "/v1/wallet/deposits", body: strings.Replace(good, "500", "501", 1), user: alice, header: map[string]string{"Idempotency-Key": "used"}}, 422, ""},
		{"another media type", call{method: "POST", path: "/v1/wallet/deposits", body: good, user: alice, header: map[string]string{"Idempotency-Key": "k", "Content-Type": "text/plain"}}, 415, ""},
		{"no body", post(""), 400, ""},
		{"not JSON", post("{"), 400, ""},
		{"an array", post("[]"), 400, ""},
		{"nothing in it", post("{}"), 400, "amount"},
		{"amount zero", post(`{"amount":0,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"amount negative", post(`{"amount":-1,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"amount too large", post(`{"amount":100000001,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"amount beyond 63 bits", post(`{"amount":9223372036854775808,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"amount with a fraction", post(`{"amount":1.5,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"amount as text", post(`{"amount":"5","currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"no currency", post(`{"amount":5,"source":"tok_ok"}`), 400, "currency"},
		{"no such currency", post(`{"amount":5,"currency":"eur","source":"tok_ok"}`), 400, "currency"},
		{"another currency", post(`{"amount":5,"currency":"USD","source":"tok_ok"}`), 422, ""},
		{"no source", post(`{"amount":5,"currency":"EUR"}`), 400, "source"},
		{"not a token", post(`{"amount":5,"currency":"EUR","source":"4111111111111111"}`), 400, "source"},
		{"a member too many", post(`{"amount":5,"currency":"EUR","source":"tok_ok","userId":"` + bob + `"}`), 400, "userId"},
		{"a member twice", post(`{"amount":5,"amount":6,"currency":"EUR","source":"tok_ok"}`), 400, "amount"},
		{"another case", post(`{"Amount":5,"currency":"EUR","source":"tok_ok"}`), 400, "Amount"},
		{"a bad limit", call{method: "GET", path: "/v1/wallet/postings?limit=101", user: alice}, 400, "limit"},
		{"a bad cursor", call{method: "GET", path: "/v1/wallet/postings?cursor=x", user: alice}, 400, "cursor"},
		{"a cursor before the beginning", call{method: "GET", path: "/v1/wallet/postings?cursor=eyJiIjotMX0", user: alice}, 400, "cursor"},
		{"a bad deposit id", call{method: "GET", path: "/v1/wallet/deposits/x", user: alice}, 404, ""},
		{"a bad audit cursor", call{method: "POST", path: "/internal/audit", body: `{"cursor":"x"}`}, 400, "cursor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.do(c.call)
			if w.Code != c.status {
				t.Fatalf("got %d %s; want %d", w.Code, w.Body, c.status)
			}
			p := decode[problem.Problem](t, w)
			named := slices.ContainsFunc(p.Errors, func(f problem.FieldError) bool { return f.Field == c.field })
			if c.field != "" && !named {
				t.Errorf("got %+v; want a word about %s", p.Errors, c.field)
			}
		})
	}
}

// Orders are refused in the answer to their command, by the slugs of the contract.
func TestCommandsAreRefusedWithTheirProblem(t *testing.T) {
	s := newServer(t)
	if w := s.deposit(alice, "k", `{"amount":100,"currency":"EUR","source":"tok_ok"}`); w.Code != 201 {
		t.Fatal(w.Body)
	}
	placed := time.Unix(1_800_000_000, 0).UTC()
	order := func(id string) string {
		return fmt.Sprintf(`"orderId":%q,"userId":%q,"placedAt":%q`, id, alice, placed.Format(time.RFC3339))
	}
	eur := func(amount int) string { return fmt.Sprintf(`,"amount":{"amount":%d,"currency":"EUR"}`, amount) }
	for _, c := range []struct {
		name, path, command string
		status              int
		slug                string
	}{
		{"an order", contract.PathAuthorize, order("o") + eur(60), 0, ""},
		{"its capture", contract.PathCapture, order("o"), 0, ""},
		{"a void", contract.PathVoid, order("other"), 0, ""},
		{"another amount for the order", contract.PathAuthorize, order("o") + eur(61), 422, contract.SlugOperationReused},
		{"a capture of nothing", contract.PathCapture, order("none"), 409, contract.SlugNotAuthorized},
		{"a refund of nothing", contract.PathRefund, order("o") + eur(0) + `,"refundId":"r"`, 422, contract.SlugAmount},
		{"no order", contract.PathVoid, order(""), 400, "invalid-request"},
	} {
		w := s.do(call{method: "POST", path: c.path, body: `{"commands":[{"command":{` + c.command + `}}]}`})
		got := decode[invoke.Response[json.RawMessage]](t, w)
		if w.Code != 200 || len(got.Results) != 1 {
			t.Fatalf("%s: %d %+v", c.name, w.Code, got)
		}
		failure := got.Results[0].Error
		if c.status == 0 {
			if failure != nil {
				t.Errorf("%s: %+v", c.name, failure)
			}
			continue
		}
		if failure == nil || failure.Status != c.status || failure.Slug != c.slug {
			t.Errorf("%s: got %+v; want %d %s", c.name, failure, c.status, c.slug)
		}
	}
	asked := fmt.Sprintf(`{"orders":[{%s}]}`, order("o"))
	found := decode[contract.Orders](t, s.do(call{method: "POST", path: contract.PathOrders, body: asked}))
	if len(found.Orders) != 1 || found.Orders[0].Captured != 60 {
		t.Errorf("the audit of orders answers %+v", found)
	}
}

func TestHistoryShowsPostings(t *testing.T) {
	s := newServer(t)
	for _, key := range []string{"a", "b", "c"} {
		if w := s.deposit(alice, key, `{"amount":500,"currency":"EUR","source":"tok_ok"}`); w.Code != 201 {
			t.Fatal(w.Body)
		}
	}
	type posting struct {
		Sequence                     int64
		Kind, CounterAccount         string
		OrderID, DepositID, RefundID string
		Amount                       money.Money
		At                           time.Time
	}
	type list struct {
		Items []posting
		Next  string
	}
	first := decode[list](t, s.do(call{method: "GET", path: "/v1/wallet/postings?limit=2", user: alice}))
	if len(first.Items) != 2 || first.Items[0].Sequence != 3 || first.Items[0].DepositID == "" || first.Next == "" {
		t.Fatalf("first page: %+v", first)
	}
	second := decode[list](t, s.do(call{method: "GET", path: "/v1/wallet/postings?limit=2&cursor=" + first.Next, user: alice}))
	if len(second.Items) != 1 || second.Items[0].Sequence != 1 || second.Next != "" {
		t.Fatalf("second page: %+v", second)
	}
	w := s.do(call{method: "GET", path: "/v1/wallet/postings", user: bob})
	if !bytes.Contains(w.Body.Bytes(), []byte(`"items":[]`)) {
		t.Errorf("an empty history is %s", w.Body)
	}
}

// Whatever body arrives: the answer is one of those promised, and money moves only for a body that is exactly right.
func FuzzDepositBody(f *testing.F) {
	for _, seed := range []string{
		`{"amount":500,"currency":"EUR","source":"tok_ok"}`, `{"amount":5e2,"currency":"EUR","source":"tok_ok"}`,
		`{"amount":-1,"currency":"EUR","source":"tok_declined"}`, `{"amount":1,"currency":"XXX","source":""}`, `null`, `{}`,
		`{"amount":9223372036854775807,"currency":"EUR","source":"tok_timeout"}`, "{\"amount\":1,\"currency\":\"EUR\",\"source\":\"tok_\xff\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := newServer(t)
		w := s.deposit(alice, "k", body)
		balance := decode[wallet](t, s.do(call{method: "GET", path: "/v1/wallet", user: alice})).Balance.Amount
		switch w.Code {
		case 201:
			if d := decode[deposit](t, w); balance != d.Amount.Amount || balance < 1 || balance > 100_000_000 {
				t.Errorf("balance is %d after %+v", balance, d)
			}
		case 202, 400, 413, 422:
			if balance != 0 {
				t.Errorf("balance is %d after status %d", balance, w.Code)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
