package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/records"
	"caravan/internal/id"
	"caravan/internal/money"
)

// Limits of a search.
const (
	maxCandidates = 50   // aggregates that the log lines name
	maxScanned    = 1000 // orders of the API that are looked through for those of a person
	pageSize      = 100
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// searchable reports whether a text can be an id.
func searchable(text string) bool { return idPattern.MatchString(text) }

// ordersView is what the page to find orders shows.
type ordersView struct {
	Now     time.Time
	Query   string
	Status  string
	States  []string
	Found   []client.OrderSummary
	Problem string
	Hint    string // why something may be missing
	More    bool
	HasLogs bool
}

var orderStates = []string{"placed", "reserved", "authorized", "capturing", "confirmed", "cancelling", "cancelled", "rejected", "refunding", "refunded"}

func (s *server) listOrders(w http.ResponseWriter, r *http.Request, sess *session) {
	query := r.URL.Query()
	v := ordersView{Now: s.clock.Now(), Query: strings.TrimSpace(query.Get("q")), Status: query.Get("status"), States: orderStates, HasLogs: s.logs != nil}
	ctx, cancel := context.WithTimeout(r.Context(), 3*callTimeout)
	defer cancel()
	var err error
	switch {
	case v.Query != "" && !searchable(v.Query):
		v.Query, v.Problem = "", "An id has letters, digits, points, dashes and colons, and at most 128 of them."
	case v.Query != "":
		v.Found, v.Hint, err = s.search(ctx, sess, v.Query)
	case v.Status == "waiting":
		v.Found, v.More, err = sess.somesOrders(ctx, client.OpsListOrdersParams{Waiting: "0s", Limit: pageSize})
	case v.Status == "" || slices.Contains(orderStates, v.Status):
		v.Found, v.More, err = sess.somesOrders(ctx, client.OpsListOrdersParams{Status: client.OrderStatus(v.Status), Limit: pageSize})
	default:
		v.Status, v.Problem = "", "There is no such state."
	}
	if sess.watch(err) != nil {
		v.Problem = "The search did not work: " + reason(err)
	}
	switch {
	case sess.over():
		s.askToSignIn(w, r)
	case v.Query != "" && len(v.Found) == 1:
		http.Redirect(w, r, "/orders/"+v.Found[0].ID, http.StatusSeeOther)
	default:
		s.page(w, r, sess, http.StatusOK, "orders", "Orders", v)
	}
}

func (sess *session) somesOrders(ctx context.Context, params client.OpsListOrdersParams) (found []client.OrderSummary, more bool, err error) {
	list, err := sess.staff.OpsListOrders(ctx, params)
	return list.Items, list.Next != "", err
}

// search finds orders by an id: of the order, of a request or trace that had to do with it, or of its user.
func (s *server) search(ctx context.Context, sess *session, text string) (found []client.OrderSummary, hint string, err error) {
	order, err := sess.staff.GetOrder(ctx, text, client.GetOrderParams{})
	if err == nil {
		return []client.OrderSummary{summaryOf(order)}, "", nil
	}
	if status := client.Status(err); status != http.StatusNotFound && status != http.StatusBadRequest && status != http.StatusUnprocessableEntity {
		return nil, "", err
	}
	found, cut, err := sess.ordersOfUser(ctx, text)
	if err != nil {
		return nil, "", err
	}
	if cut {
		hint = fmt.Sprintf("Only the oldest %d orders were compared with the id of a person.", maxScanned)
	}
	if s.logs == nil {
		return found, strings.TrimSpace(hint + " No store for log lines runs, so requests and traces cannot be searched."), nil
	}
	candidates, err := s.aggregatesOf(ctx, text)
	if err != nil {
		return found, "The store for log lines does not answer: " + reason(err), nil
	}
	for _, candidate := range candidates {
		if slices.ContainsFunc(found, func(o client.OrderSummary) bool { return o.ID == candidate }) {
			continue
		}
		if order, err := sess.staff.GetOrder(ctx, candidate, client.GetOrderParams{}); err == nil {
			found = append(found, summaryOf(order))
		} else if refused(err) || ctx.Err() != nil {
			return found, hint, err
		}
	}
	slices.SortFunc(found, func(a, b client.OrderSummary) int { return b.PlacedAt.Compare(a.PlacedAt) })
	return found, hint, nil
}

// aggregatesOf are the aggregates that log lines with an id name.
func (s *server) aggregatesOf(ctx context.Context, text string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := s.logs.Values(ctx, limited(records.AggregatesQL(text), maxCandidates), records.ColumnAggregate, time.Time{})
	return slices.DeleteFunc(all, func(id string) bool { return !searchable(id) }), err
}

// ordersOfUser looks for the orders of a person among all. cut says that there are more orders than it looks through.
func (sess *session) ordersOfUser(ctx context.Context, user string) (found []client.OrderSummary, cut bool, err error) {
	params := client.OpsListOrdersParams{Limit: pageSize}
	for range maxScanned / pageSize {
		list, err := sess.staff.OpsListOrders(ctx, params)
		if err != nil {
			return nil, false, err
		}
		for _, o := range list.Items {
			if o.UserID == user {
				found = append(found, o)
			}
		}
		if params.Cursor = list.Next; list.Next == "" {
			return found, false, nil
		}
	}
	return found, true, nil
}

func summaryOf(o client.Order) client.OrderSummary {
	return client.OrderSummary{
		ID: o.ID, UserID: o.UserID, Status: o.Status, Lines: o.Lines, Total: o.Total, Reason: o.Reason, Refunded: o.Refunded,
		PlacedAt: o.PlacedAt, UpdatedAt: o.UpdatedAt, Waiting: o.Waiting,
	}
}

// maxReason is how many bytes the reason for an action may have.
const maxReason = 500

func (s *server) actOnOrder(w http.ResponseWriter, r *http.Request, sess *session) {
	order, why := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("reason"))
	if !searchable(order) || len(why) > maxReason {
		s.fail(w, r, http.StatusBadRequest, "The id of the order or the reason is not valid.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	key := id.Random{}.New()
	var done string
	var err error
	switch r.PathValue("action") {
	case "retry":
		done = "The order is tried again now."
		_, err = sess.staff.OpsRetryOrder(ctx, order, key, client.OrderRetry{Reason: why})
	case "cancel":
		done = "The order is being cancelled."
		_, err = sess.staff.OpsCancelOrder(ctx, order, key, client.OrderCancellation{Reason: cmp.Or(why, "Cancelled from the console.")})
	case "refund":
		done = "The refund is being made."
		var amount money.Money
		if text := strings.TrimSpace(r.PostFormValue("amount")); text != "" {
			if amount, err = money.Parse(text); err != nil {
				s.finish(w, r, sess, "/orders/"+order, "", fmt.Errorf("write the amount as 5.00 EUR: %w", err))
				return
			}
		}
		_, err = sess.staff.RefundOrder(ctx, order, key, client.Refund{Amount: amount, Reason: cmp.Or(why, "Refunded from the console.")})
	default:
		s.fail(w, r, http.StatusNotFound, "There is no such action.")
		return
	}
	s.finish(w, r, sess, "/orders/"+order, done, err)
}
