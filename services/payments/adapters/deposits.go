package adapters

import (
	"net/http"
	"time"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/request"
	"caravan/services/payments/app"
	"caravan/services/payments/domain"
)

// depositBody is the body of POST /v1/wallet/deposits. The largest amount is a million euro in cents.
type depositBody struct {
	Amount   int64  `json:"amount" validate:"min=1,max=100000000"`
	Currency string `json:"currency" validate:"required,currency"`
	Source   string `json:"source" validate:"required,plainid,startswith=tok_"`
}

// depositView is a deposit as its owner sees it.
type depositView struct {
	ID        string               `json:"id"`
	Status    domain.DepositStatus `json:"status"`
	Amount    money.Money          `json:"amount"`
	Reason    string               `json:"reason,omitempty"`
	CreatedAt time.Time            `json:"createdAt"`
}

// deposit answers POST /v1/wallet/deposits: 201 when the money is in the wallet, 202 when the bank has not answered yet (the
// deposit will end; read Location, or send the same request again), 422 when the bank declined. The same Idempotency-Key
// gives the same deposit in its current state.
func (a API) deposit(r *http.Request) (request.Answer, error) {
	userID, err := callerOf(r)
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
	d, err := a.Deposit.Do(r.Context(), app.DepositRequest{
		UserID: userID, Key: key, Fingerprint: request.Fingerprint(body),
		Amount: money.New(body.Amount, body.Currency), Source: body.Source,
	})
	if err != nil {
		return request.Answer{}, err
	}
	return answerOf(d)
}

// answerOf is the answer to a request for a deposit.
func answerOf(d *domain.Deposit) (request.Answer, error) {
	location := "/v1/wallet/deposits/" + d.ID
	switch d.Status {
	case domain.DepositPending:
		return request.Accepted(location, viewDeposit(d)).With("Retry-After", "1"), nil
	case domain.DepositSucceeded:
		return request.Created(location, viewDeposit(d)), nil
	}
	return request.Answer{}, declined(d, location)
}

// showDeposit answers GET /v1/wallet/deposits/{id}.
func (a API) showDeposit(r *http.Request) (request.Answer, error) {
	userID, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	depositID := r.PathValue("id")
	if !id.Valid(depositID) {
		return request.Answer{}, domain.ErrNoDeposit
	}
	d, err := a.ShowDeposit.Do(r.Context(), userID, depositID)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(viewDeposit(d)), nil
}

func viewDeposit(d *domain.Deposit) depositView {
	return depositView{ID: d.ID, Status: d.Status, Amount: d.Amount, Reason: d.Reason, CreatedAt: d.CreatedAt}
}
