package adapters

import (
	"net/http"
	"time"

	"caravan/internal/money"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/payments/app"
	"caravan/services/payments/domain"
	users "caravan/services/users/contract"
)

// callerOf returns the id of the user who sends a request. A wallet belongs to this user, so nobody can name another one.
func callerOf(r *http.Request) (string, error) {
	caller, err := service.Require(r, users.PermissionWalletUse)
	return caller.Subject, err
}

// showWallet answers GET /v1/wallet.
func (a API) showWallet(r *http.Request) (request.Answer, error) {
	userID, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	wallet, err := a.ShowWallet.Do(r.Context(), userID)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(wallet), nil
}

// posting is a posting as its owner sees it.
type posting struct {
	// Sequence counts the postings of the wallet from 1.
	Sequence int64       `json:"sequence"`
	Kind     domain.Kind `json:"kind"`
	// Amount is negative if the money left the wallet.
	Amount         money.Money `json:"amount"`
	CounterAccount string      `json:"counterAccount"`
	OrderID        string      `json:"orderId,omitempty"`
	DepositID      string      `json:"depositId,omitempty"`
	RefundID       string      `json:"refundId,omitempty"`
	At             time.Time   `json:"at"`
}

// listPostings answers GET /v1/wallet/postings, newest first.
func (a API) listPostings(r *http.Request) (request.Answer, error) {
	userID, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	return request.List(r, func(cursor string, limit int) ([]app.Entry, string, error) {
		return a.ListPostings.Do(r.Context(), userID, cursor, limit)
	}, view)
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
