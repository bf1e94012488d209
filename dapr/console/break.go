package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
	"caravan/dapr/launcher/process"
	"caravan/internal/money"
)

// Limits of placing orders.
const (
	placeTimeout = 3 * time.Minute
	placeAtOnce  = 4
	ownOrders    = 10 // that are shown
)

// amounts are how many orders may be placed at once.
var amounts = []int{1, 10, 100}

// dearest is the most that a product for such an order may cost. lowWallet, the least that the person's wallet should have, is enough
// for the most orders; the wallet gets topUp otherwise.
const dearest = 20_00

var lowWallet, topUp = money.New(dearest*100, "EUR"), money.New(2_500_00, "EUR")

// placing is how far the person's orders have come.
type placing struct {
	Wanted, Placed, Failed int
	Problem                string // of the last that failed
	Running                bool
	funds                  int // for how many orders the wallet is known to be enough
}

// breakView is what the page to break things shows.
type breakView struct {
	boardView
	Amounts []int
	Placing placing
	Own     reading[[]client.OrderSummary]
}

// breakFragments are the parts of the page that change.
var breakFragments = []string{"placing", "own-orders", "processes"}

func (s *server) viewBreak(sess *session, own *source[[]client.OrderSummary]) breakView {
	v := breakView{boardView: s.viewBoard(sess), Amounts: amounts, Own: own.now()}
	v.Act, v.Back = sess.mayAct(), "/break"
	sess.mu.Lock()
	defer sess.mu.Unlock()
	v.Placing = sess.placing
	return v
}

func (s *server) breakReads(sess *session, own *source[[]client.OrderSummary]) []func(context.Context) {
	return []func(context.Context){s.stackRead(sess), func(ctx context.Context) {
		own.refresh(ctx, s.clock, stackEvery, callTimeout, func(ctx context.Context) ([]client.OrderSummary, error) {
			list, err := sess.staff.ListOrders(ctx, client.ListOrdersParams{Limit: ownOrders})
			return list.Items, sess.watch(err)
		})
	}}
}

func (s *server) showBreak(w http.ResponseWriter, r *http.Request, sess *session) {
	if s.control == nil {
		s.fail(w, r, http.StatusNotFound, "The launcher of this stack does not run on this machine, so nothing can be broken from here.")
		return
	}
	var own source[[]client.OrderSummary]
	readAll(r.Context(), firstView, s.breakReads(sess, &own))
	s.page(w, r, sess, http.StatusOK, "break", "Break it", s.viewBreak(sess, &own))
}

func (s *server) streamBreak(w http.ResponseWriter, r *http.Request, sess *session) {
	var own source[[]client.OrderSummary]
	s.stream(w, r, sess, live{
		refresh: s.breakReads(sess, &own),
		show:    func() ([]fragment, error) { return fragments(s.viewBreak(sess, &own), breakFragments...) },
	})
}

// signals are the actions on a process.
var signals = map[string]syscall.Signal{"kill": syscall.SIGKILL, "freeze": syscall.SIGSTOP, "continue": syscall.SIGCONT}

func (s *server) actOnProcess(w http.ResponseWriter, r *http.Request, sess *session) {
	name, action := r.PathValue("name"), r.PostFormValue("action")
	if s.control == nil || !sess.mayAct() {
		s.fail(w, r, http.StatusForbidden, "You may not act on processes here.")
		return
	}
	signal, known := signals[action]
	if !known && action != "start" {
		s.fail(w, r, http.StatusBadRequest, "There is no such action.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	err := s.checkProcess(ctx, name)
	if err == nil {
		slog.Info("audit", "action", "process."+action, "actor", sess.user, "process", name)
		if known {
			err = s.control.Kill(ctx, name, signal)
		} else {
			err = s.control.Start(ctx, name)
		}
	}
	sess.board.stack.expire()
	done := map[string]string{
		"kill": "was killed; the launcher starts it again", "freeze": "is frozen", "continue": "continues", "start": "was started",
	}
	s.finish(w, r, sess, "/break", name+" "+done[action]+".", err)
}

// checkProcess refuses names that the launcher does not have, and the console itself.
func (s *server) checkProcess(ctx context.Context, name string) error {
	report, err := s.control.Report(ctx)
	if err != nil {
		return err
	}
	for _, p := range report.Processes {
		if p.Name == name && name != "console" {
			if p.State == process.Waiting {
				return errors.New(name + " does not run at present")
			}
			return nil
		}
	}
	return fmt.Errorf("there is no process %.64q to act on", name)
}

func (s *server) placeOrders(w http.ResponseWriter, r *http.Request, sess *session) {
	count, err := strconv.Atoi(r.PostFormValue("count"))
	if err != nil || !slices.Contains(amounts, count) {
		s.fail(w, r, http.StatusBadRequest, "1, 10 or 100 orders can be placed at once.")
		return
	}
	if s.control == nil {
		s.fail(w, r, http.StatusForbidden, "Orders are placed from here only where the launcher runs.")
		return
	}
	if !sess.beginPlacing(count) {
		s.finish(w, r, sess, "/break", "", errors.New("orders are still being placed; wait until that has ended"))
		return
	}
	s.jobs.start(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, placeTimeout)
		defer cancel()
		sess.place(ctx, count)
	})
	s.finish(w, r, sess, "/break", plural(count, "order")+" will be placed.", nil)
}

func (sess *session) beginPlacing(count int) bool {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if sess.placing.Running {
		return false
	}
	sess.placing = placing{Wanted: count, Running: true, funds: sess.placing.funds}
	return true
}

// place places orders as the person, who pays for them from the wallet.
func (sess *session) place(ctx context.Context, count int) {
	defer func() {
		sess.mu.Lock()
		defer sess.mu.Unlock()
		sess.placing.Running = false
	}()
	skus, err := sess.prepare(ctx, count)
	if err != nil {
		sess.placed(count, err)
		return
	}
	var group errgroup.Group
	group.SetLimit(placeAtOnce)
	for i := range count {
		group.Go(func() error {
			_, err := within(ctx, actionTimeout, func(ctx context.Context) (client.Order, error) {
				item := client.NewOrderItem{SKU: skus[i%len(skus)], Quantity: 1}
				return sess.staff.PlaceOrder(ctx, rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{item}})
			})
			sess.placed(1, sess.watch(err))
			return nil // the others are placed all the same
		})
	}
	_ = group.Wait()
}

// placed counts orders.
func (sess *session) placed(count int, err error) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if err == nil {
		sess.placing.Placed += count
		sess.placing.funds -= count
		return
	}
	sess.placing.Failed += count
	sess.placing.Problem = reason(err)
}

// prepare chooses products and fills the wallet. A wallet that does not answer is no reason not to order: that is what people
// come to see.
func (sess *session) prepare(ctx context.Context, count int) ([]string, error) {
	list, err := within(ctx, callTimeout, func(ctx context.Context) (client.ProductList, error) {
		return sess.staff.ListProducts(ctx, client.ListProductsParams{Limit: 100})
	})
	if sess.watch(err) != nil {
		return nil, err
	}
	var skus []string
	for _, p := range list.Items {
		if p.Available > 0 && p.Price.Amount <= dearest {
			skus = append(skus, p.SKU)
		}
	}
	if len(skus) == 0 {
		return nil, errors.New("no product of at most 20.00 is in stock")
	}
	if sess.funded() >= count {
		return skus, nil
	}
	if err := sess.fillWallet(ctx); err != nil {
		slog.Warn("the wallet could not be filled", "error", err.Error())
	}
	return skus, nil
}

// funded is for how many orders the wallet is known to be enough. It saves a call that takes long when payments does not answer.
func (sess *session) funded() int {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.placing.funds
}

func (sess *session) fillWallet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	wallet, err := sess.staff.GetWallet(ctx)
	if err != nil {
		return err
	}
	if enough, err := wallet.Available.Cmp(lowWallet); err != nil || enough < 0 {
		if _, err := sess.staff.TopUp(ctx, rand.Text(), topUp); err != nil {
			return err
		}
	}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.placing.funds = int(lowWallet.Amount / dearest)
	return nil
}
