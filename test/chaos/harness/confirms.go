package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caravan/dapr/launcher"
)

// confirms cuts off the broker's confirmations. A sidecar then answers a publish with success, although nobody knows
// whether the broker has the message.
func confirms() campaign {
	return campaign{
		name:    "confirms",
		summary: "a share of the broker's confirmations is cut off, with or without the message: every event still reaches its customer",
		complete: func(o Options) Options {
			o = common(o)
			o.Orders, o.Rate, o.Share = or(o.Orders, 300), or(o.Rate, 8), or(o.Share, 0.2)
			return o
		},
		run: runConfirms,
	}
}

// publishers are the sidecars that publish the events of notifications.
var publishers = []string{"orders:broker", "payments:broker"}

func runConfirms(ctx context.Context, r *run) error {
	if !r.system.targets.Broker {
		return fmt.Errorf("%w: the campaign follows the frames of a broker of the stack's own that speaks AMQP", launcher.ErrNoFault)
	}
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 20, cents: 1_000_000_00}); err != nil {
		return err
	}
	before, err := r.unconfirmed()
	if err != nil {
		return err
	}
	heal, err := r.cutConfirmations()
	if err != nil {
		return errors.Join(err, heal())
	}
	load := &load{shop: r.shop, seed: r.Seed, orders: r.Orders, rate: r.Rate, mix: ordersOnly, giveUp: 30 * time.Second}
	r.under(ctx, nil, load.run)
	if err := heal(); err != nil {
		return err
	}
	s := r.settle(ctx)
	return r.countLost(s, before)
}

// unconfirmed counts the publishes until now for which sidecars had no confirmation, and which they answered with
// success. The log lines of components are not JSON.
func (r *run) unconfirmed() (count int, err error) {
	_, err = r.stack.LogLines(func(line launcher.LogLine) bool {
		if isSidecar(line.Process) && strings.Contains(line.Raw, "did not receive confirmation of publishing") {
			count++
		}
		return false
	})
	return count, err
}

// cutConfirmations cuts connections before confirmations. Half as often it cuts them before the message itself, which
// is then lost although the sidecar reports a success (Dapr's component treats a closed connection as a confirmation;
// reliability notes, F1).
func (r *run) cutConfirmations() (heal func() error, err error) {
	var heals []func() error
	heal = func() error {
		var errs []error
		for _, one := range heals {
			errs = append(errs, one())
		}
		return errors.Join(errs...)
	}
	for _, connection := range publishers {
		for _, cut := range []struct {
			upstream bool
			method   int
			share    float64
		}{{true, launcher.AMQPPublish, r.Share / 2}, {false, launcher.AMQPAck, r.Share / 2}} {
			one, err := r.stack.BreakConnection(connection, launcher.ConnectionFault{
				Toxic: launcher.FrameCut, Upstream: cut.upstream, Reconnect: true,
				Attributes: map[string]any{"class": launcher.AMQPBasic, "method": cut.method, "share": cut.share},
			})
			if err != nil {
				return heal, err
			}
			heals = append(heals, one)
		}
		_ = r.stack.Remark(fmt.Sprintf("fault %.0f %% of the confirmations of %s are cut", 100*r.Share, connection))
	}
	return heal, nil
}

// countLost counts, from the logs, the publishes without confirmation that were answered with success, and the events
// that the broker never delivered.
func (r *run) countLost(s *settler, before int) error {
	events := make(map[string]bool)
	for id, order := range s.orders {
		for _, moment := range order.Timeline {
			switch moment.Type {
			case "confirmed", "rejected", "cancelled", "refunded":
				events[fmt.Sprintf("orders/%s/%d", id, moment.Sequence)] = true
			}
		}
	}
	pushed := make(map[string]bool)
	givenUp := 0.0
	_, err := r.stack.LogLines(func(line launcher.LogLine) bool {
		switch {
		case line.Time.Before(r.began):
		case line.Message == "event" && strings.HasPrefix(line.Process, "notifications"):
			pushed[line.Field("event")] = true
		case strings.HasPrefix(line.Message, "publishing failed; consumers will pull") && line.Field("attempt") == "3":
			n, _ := line.Fields["events"].(float64)
			givenUp += n
		}
		return false
	})
	if err != nil {
		return err
	}
	after, err := r.unconfirmed()
	if err != nil {
		return err
	}
	unconfirmed, lost := after-before, 0
	for event := range events {
		if !pushed[event] {
			lost++
		}
	}
	n := r.report.Numbers
	n["events"], n["publishes without a confirmation, answered with success"] = float64(len(events)), float64(unconfirmed)
	n["events the publisher gave up"] = givenUp
	n["events that never came over the broker"] = float64(lost)
	n["events answered with success and lost by the broker"] = max(0, float64(lost)-givenUp)
	if unconfirmed == 0 || lost == 0 {
		r.findings.add("the fault takes place", "", "%d publishes without a confirmation, %d events lost on their way: the run proves nothing", unconfirmed, lost)
	}
	return nil
}
