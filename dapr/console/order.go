package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/records"
)

// How often the parts of an order's page are read.
const (
	orderEvery   = time.Second
	rowsEvery    = 2 * time.Second
	relatedEvery = 3 * time.Second
	// settled is how long after its end an order is still read often, because log lines and events follow.
	settled      = 30 * time.Second
	settledEvery = 15 * time.Second
)

// Limits of an order's page.
const (
	maxRows    = 2000 // log lines, and spans
	maxRelated = 100  // messages and dead letters that are looked at
)

// orderPage is what a person reads of one order.
type orderPage struct {
	id       string
	order    source[client.Order]
	rows     source[orderRows]
	messages source[[]client.Delivery]
	letters  source[[]client.DeadLetter]
}

// orderRows are the log lines and spans of an order.
type orderRows struct {
	Lines, Spans []records.Row
	Correlations []string
	Cut          bool // there are more
}

// orderReads are the reads of all parts. The log lines are read only when the gateway has shown the order: the store for them knows no
// permissions.
func (s *server) orderReads(sess *session, p *orderPage) []func(context.Context) {
	every := func(usual time.Duration) time.Duration {
		o := p.order.now()
		if o.Known() && o.Value.Status.Ended() && s.clock.Now().Sub(o.Value.UpdatedAt) > settled {
			return settledEvery
		}
		return usual
	}
	return []func(context.Context){
		func(ctx context.Context) {
			p.order.refresh(ctx, s.clock, every(orderEvery), callTimeout, func(ctx context.Context) (client.Order, error) {
				order, err := sess.staff.GetOrder(ctx, p.id, client.GetOrderParams{})
				return order, sess.watch(err)
			})
		},
		func(ctx context.Context) {
			if s.logs != nil && p.order.now().Known() {
				p.rows.refresh(ctx, s.clock, every(rowsEvery), callTimeout, func(ctx context.Context) (orderRows, error) { return s.readRows(ctx, p.id) })
			}
		},
		func(ctx context.Context) {
			if o := p.order.now(); o.Known() && o.Value.UserID != "" {
				p.messages.refresh(ctx, s.clock, every(relatedEvery), callTimeout, func(ctx context.Context) ([]client.Delivery, error) {
					return sess.messagesOf(ctx, o.Value)
				})
			}
		},
		func(ctx context.Context) {
			p.letters.refresh(ctx, s.clock, every(relatedEvery), callTimeout, func(ctx context.Context) ([]client.DeadLetter, error) {
				return sess.lettersOf(ctx, p.id)
			})
		},
	}
}

// readRows reads the lines about an order and of each request that had to do with it, and the spans of their traces.
func (s *server) readRows(ctx context.Context, id string) (orderRows, error) {
	var found orderRows
	var err error
	if found.Correlations, err = s.logs.Values(ctx, limited(records.CausesQL(id), maxRelated), records.ColumnCorrelation, time.Time{}); err != nil {
		return found, err
	}
	query := records.Query{Order: id, Correlations: found.Correlations}
	if found.Lines, err = s.logs.Rows(ctx, limited(query.LogsQL(), maxRows), time.Time{}); err != nil {
		return found, err
	}
	traces, err := s.logs.Values(ctx, limited(records.TracesQL(id), maxRelated), records.ColumnTrace, time.Time{})
	if err != nil || len(traces) == 0 {
		return found, err
	}
	found.Spans, err = s.logs.Rows(ctx, limited(records.SpansQL(traces), maxRows), time.Time{})
	found.Cut = len(found.Lines) >= maxRows || len(found.Spans) >= maxRows
	return found, err
}

// limited bounds what a query of the store answers: the oldest rows.
func limited(query string, most int) string {
	if strings.Contains(query, "| uniq") {
		return query + " | limit " + plain(most)
	}
	return query + " | sort by (_time) limit " + plain(most)
}

func (sess *session) messagesOf(ctx context.Context, order client.Order) ([]client.Delivery, error) {
	list, err := sess.staff.OpsListNotifications(ctx, client.OpsListNotificationsParams{User: order.UserID, Since: order.PlacedAt, Limit: maxRelated})
	var own []client.Delivery
	for _, m := range list.Items {
		if m.OrderID == order.ID {
			own = append(own, m)
		}
	}
	return own, sess.watch(err)
}

func (sess *session) lettersOf(ctx context.Context, id string) ([]client.DeadLetter, error) {
	list, err := sess.staff.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{Limit: maxRelated})
	var own []client.DeadLetter
	for _, l := range list.Items {
		if l.Subject == id || strings.Contains(l.EventID, id) {
			own = append(own, l)
		}
	}
	return own, sess.watch(err)
}

// orderView is what the page shows at one time.
type orderView struct {
	Now      time.Time
	CSRF     string
	ID       string
	Order    reading[client.Order]
	Rows     reading[orderRows]
	Messages reading[[]client.Delivery]
	Letters  reading[[]client.DeadLetter]
	Timeline timeline
	Lines    []lineView
	Traces   []traceView
	HasLogs  bool
	LogsURL  string
}

func (s *server) viewOrder(sess *session, p *orderPage) orderView {
	v := orderView{
		Now: s.clock.Now(), CSRF: sess.csrf, ID: p.id, HasLogs: s.logs != nil, LogsURL: s.logsURL,
		Order: p.order.now(), Rows: p.rows.now(), Messages: p.messages.now(), Letters: p.letters.now(),
	}
	v.Timeline = makeTimeline(history{v.Order.Value, v.Rows.Value.Lines, v.Messages.Value, v.Letters.Value}, v.Now)
	return v
}

// withRows adds the log lines and the waterfalls. They are long, so a stream adds them only when they have changed.
func (v orderView) withRows() orderView {
	v.Lines, v.Traces = viewLines(v.Rows.Value.Lines), viewTraces(v.Rows.Value.Spans)
	return v
}

// Attempt says how many attempts the order has had at its present step.
func (v orderView) Attempt() string {
	if w := v.Order.Value.Waiting; w != nil {
		return ordinal(w.Attempts)
	}
	return ""
}

// CanCancel, CanRefund and CanRetry report which actions the present state may allow. The gateway decides.
func (v orderView) CanCancel() bool {
	switch v.Order.Value.Status {
	case client.OrderStatusPlaced, client.OrderStatusReserved, client.OrderStatusAuthorized:
		return true
	}
	return false
}

// CanRefund is explained at CanCancel.
func (v orderView) CanRefund() bool { return v.Order.Value.Status == client.OrderStatusConfirmed }

// CanRetry is explained at CanCancel.
func (v orderView) CanRetry() bool { return v.Order.Value.Waiting != nil }

// orderFragments are the parts of the page that change, and rowFragments those that change with the log lines and spans only.
var (
	orderFragments = []string{"order-state", "order-actions", "timeline"}
	rowFragments   = []string{"traces", "lines"}
)

// openOrder reads an order for the first time, and what is known about it within a limit. It answers by itself and returns nil if there
// is none.
func (s *server) openOrder(w http.ResponseWriter, r *http.Request, sess *session, limit time.Duration) *orderPage {
	p := &orderPage{id: r.PathValue("id")}
	if !searchable(p.id) {
		s.fail(w, r, http.StatusNotFound, "This is not the id of an order.")
		return nil
	}
	reads := s.orderReads(sess, p)
	readAll(r.Context(), callTimeout, reads[:1])
	status := client.Status(p.order.failure())
	switch {
	case sess.over():
		s.askToSignIn(w, r)
		return nil
	case status == http.StatusNotFound || status == http.StatusBadRequest:
		s.fail(w, r, http.StatusNotFound, "There is no order with this id.")
		return nil
	}
	readAll(r.Context(), limit, reads[1:])
	return p
}

func (s *server) showOrder(w http.ResponseWriter, r *http.Request, sess *session) {
	if p := s.openOrder(w, r, sess, firstView); p != nil {
		s.page(w, r, sess, http.StatusOK, "order", "Order "+p.id, s.viewOrder(sess, p).withRows())
	}
}

func (s *server) streamOrder(w http.ResponseWriter, r *http.Request, sess *session) {
	p := &orderPage{id: r.PathValue("id")}
	if !searchable(p.id) {
		s.fail(w, r, http.StatusNotFound, "This is not the id of an order.")
		return
	}
	shown := "" // which log lines and spans the page has
	s.stream(w, r, sess, live{refresh: s.orderReads(sess, p), show: func() ([]fragment, error) {
		v := s.viewOrder(sess, p)
		if !v.Order.Known() && v.Order.Problem == "" {
			return nil, nil // the page has what it was loaded with
		}
		all, err := fragments(v, orderFragments...)
		rows := moment(v.Rows.At) + v.Rows.Problem
		if err != nil || rows == shown || s.logs != nil && !v.Rows.Known() && v.Rows.Problem == "" {
			return all, err
		}
		shown = rows
		more, err := fragments(v.withRows(), rowFragments...)
		return append(all, more...), err
	}})
}
