// Package adapters connects the use cases of payments to the outside: the public wallet, the commands of other services
// and the audit.
package adapters

import (
	"net/http"
	"time"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/payments/app"
	"caravan/services/payments/domain"
	users "caravan/services/users/contract"
)

// Wallet answers a user about the user's own money. Whose wallet it is comes from the access token and from nowhere
// else, so another user's is out of reach.
type Wallet struct {
	Ledger   *app.Ledger
	Deposits *app.Deposits
}

// Show answers GET /v1/wallet.
func (h Wallet) Show(r *http.Request) (request.Answer, error) {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return request.Answer{}, err
	}
	wallet, err := h.Ledger.Wallet(r.Context(), caller.Subject)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(wallet), nil
}

// posting is one line of the history as users see it.
type posting struct {
	// Sequence counts the postings of the wallet from 1.
	Sequence int64       `json:"sequence"`
	Kind     domain.Kind `json:"kind"`
	// Amount is negative for what left the wallet.
	Amount         money.Money `json:"amount"`
	CounterAccount string      `json:"counterAccount"`
	OrderID        string      `json:"orderId,omitempty"`
	DepositID      string      `json:"depositId,omitempty"`
	RefundID       string      `json:"refundId,omitempty"`
	At             time.Time   `json:"at"`
}

// History answers GET /v1/wallet/postings, the newest first.
func (h Wallet) History(r *http.Request) (request.Answer, error) {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return request.Answer{}, err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	entries, next, err := h.Ledger.History(r.Context(), caller.Subject, cursor, limit)
	if err != nil {
		return request.Answer{}, err
	}
	list := page.List[posting]{Items: make([]posting, len(entries)), Next: next}
	for i, e := range entries {
		list.Items[i] = view(e)
	}
	return request.OK(list), nil
}

func view(e app.Entry) posting {
	p := posting{
		Sequence: e.Sequence, Kind: e.Kind, Amount: e.Money, CounterAccount: e.CounterAccount, OrderID: e.OrderID, At: e.At,
	}
	switch e.Kind {
	case domain.KindDeposit:
		p.DepositID = e.Operation
	case domain.KindRefund:
		p.RefundID = e.Operation
	case domain.KindCapture: // the operation is the order
	}
	return p
}

// depositBody asks for a deposit. An amount is at most a million euro in cents: no card takes more.
type depositBody struct {
	Amount   int64  `json:"amount" validate:"min=1,max=100000000"`
	Currency string `json:"currency" validate:"required,currency"`
	Source   string `json:"source" validate:"required,plainid,startswith=tok_"`
}

// deposit is a deposit as its owner sees it.
type deposit struct {
	ID        string               `json:"id"`
	Status    domain.DepositStatus `json:"status"`
	Amount    money.Money          `json:"amount"`
	Reason    string               `json:"reason,omitempty"`
	CreatedAt time.Time            `json:"createdAt"`
}

// Deposit answers POST /v1/wallet/deposits: 201 when the money is in the wallet, 202 when the bank has not answered yet
// (it will be settled; ask Location, or send the same request again), 422 when the bank declined. The same
// Idempotency-Key gives the same deposit as it stands.
func (h Wallet) Deposit(r *http.Request) (request.Answer, error) {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return request.Answer{}, err
	}
	key, err := request.IdempotencyKey(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body depositBody
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	d, err := h.Deposits.Deposit(r.Context(), app.DepositRequest{
		UserID: caller.Subject, Key: key, Fingerprint: request.Fingerprint(body),
		Amount: money.New(body.Amount, body.Currency), Source: body.Source,
	})
	if err != nil {
		return request.Answer{}, err
	}
	return answer(d)
}

// answer tells how a deposit stands after a request for it.
func answer(d *domain.Deposit) (request.Answer, error) {
	location := "/v1/wallet/deposits/" + d.ID
	switch d.Status {
	case domain.DepositPending:
		return request.Accepted(location, viewDeposit(d)).With("Retry-After", "1"), nil
	case domain.DepositSucceeded:
		return request.Created(location, viewDeposit(d)), nil
	}
	p := problem.Unprocessable("payment-declined", "the bank declined: "+d.Reason)
	p.Instance = location
	p.Extra = map[string]any{"depositId": d.ID, "reason": d.Reason}
	return request.Answer{}, p
}

// ShowDeposit answers GET /v1/wallet/deposits/{id}.
func (h Wallet) ShowDeposit(r *http.Request) (request.Answer, error) {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return request.Answer{}, err
	}
	depositID := r.PathValue("id")
	if !id.Valid(depositID) {
		return request.Answer{}, problem.NotFound("deposit")
	}
	d, err := h.Deposits.ReadDeposit(r.Context(), caller.Subject, depositID)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(viewDeposit(d)), nil
}

func viewDeposit(d *domain.Deposit) deposit {
	return deposit{ID: d.ID, Status: d.Status, Amount: d.Amount, Reason: d.Reason, CreatedAt: d.CreatedAt}
}
