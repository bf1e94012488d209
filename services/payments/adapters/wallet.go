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
func (h Wallet) Show(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return err
	}
	wallet, err := h.Ledger.Wallet(r.Context(), caller.Subject)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, wallet)
	return nil
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
func (h Wallet) History(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return err
	}
	entries, next, err := h.Ledger.History(r.Context(), caller.Subject, cursor, limit)
	if err != nil {
		return err
	}
	list := page.List[posting]{Items: make([]posting, len(entries)), Next: next}
	for i, e := range entries {
		list.Items[i] = view(e)
	}
	request.Respond(w, http.StatusOK, list)
	return nil
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
func (h Wallet) Deposit(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return err
	}
	key, err := request.IdempotencyKey(r)
	if err != nil {
		return err
	}
	var body depositBody
	if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	d, err := h.Deposits.Deposit(r.Context(), app.DepositRequest{
		UserID: caller.Subject, Key: key, Fingerprint: request.Fingerprint(body),
		Amount: money.New(body.Amount, body.Currency), Source: body.Source,
	})
	if err != nil {
		return err
	}
	return answer(w, d)
}

// answer tells how a deposit stands after a request for it.
func answer(w http.ResponseWriter, d *domain.Deposit) error {
	location := "/v1/wallet/deposits/" + d.ID
	switch d.Status {
	case domain.DepositDeclined:
		p := problem.Unprocessable("payment-declined", "the bank declined: "+d.Reason)
		p.Instance = location
		p.Extra = map[string]any{"depositId": d.ID, "reason": d.Reason}
		return p
	case domain.DepositPending:
		w.Header().Set("Location", location)
		w.Header().Set("Retry-After", "1")
		request.Respond(w, http.StatusAccepted, viewDeposit(d))
	case domain.DepositSucceeded:
		w.Header().Set("Location", location)
		request.Respond(w, http.StatusCreated, viewDeposit(d))
	}
	return nil
}

// ShowDeposit answers GET /v1/wallet/deposits/{id}.
func (h Wallet) ShowDeposit(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionWalletUse)
	if err != nil {
		return err
	}
	depositID := r.PathValue("id")
	if !id.Valid(depositID) {
		return problem.NotFound("deposit")
	}
	d, err := h.Deposits.ReadDeposit(r.Context(), caller.Subject, depositID)
	if err != nil {
		return err
	}
	request.Respond(w, http.StatusOK, viewDeposit(d))
	return nil
}

func viewDeposit(d *domain.Deposit) deposit {
	return deposit{ID: d.ID, Status: d.Status, Amount: d.Amount, Reason: d.Reason, CreatedAt: d.CreatedAt}
}
