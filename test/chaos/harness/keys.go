package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/id"
	"caravan/internal/request"
)

// keys posts one order many times at once with one idempotency key.
func keys() campaign {
	return campaign{
		name:    "keys",
		summary: "every idempotency key posted many times at once: one effect each, identical answers, 422 for another request",
		complete: func(o Options) Options {
			o = common(o)
			o.Keys, o.Posts = or(o.Keys, 50), or(o.Posts, 20)
			return o
		},
		run: runKeys,
	}
}

// keysAtOnce is how many keys are used at the same time. Each is posted Posts times.
const keysAtOnce = 4

func runKeys(ctx context.Context, r *run) error {
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 5, cents: 1_000_000_00}); err != nil {
		return err
	}
	telling, quiet := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { r.tell(telling) })
	var group errgroup.Group
	group.SetLimit(keysAtOnce)
	posted := 0
	for n := 0; n < r.Keys && ctx.Err() == nil; n++ {
		posted++
		group.Go(func() error {
			r.storm(ctx, r.shop.customers[n%len(r.shop.customers)], n)
			return nil
		})
	}
	_ = group.Wait() // failures are in findings
	quiet()
	beside.Wait()
	r.report.Seconds = time.Since(r.began).Seconds()
	s := r.settle(ctx)
	r.report.Numbers["keys"] = float64(posted)
	r.report.Numbers["posts"] = float64(posted * (r.Posts + 2))
	r.report.Numbers["effects"] = float64(len(s.orders))
	if len(s.orders) != posted {
		r.findings.add("one effect for a key", "", "%d keys had %d effects", posted, len(s.orders))
	}
	return nil
}

// storm posts one key many times at once, once more later, and once with another request.
func (r *run) storm(ctx context.Context, c *customer, n int) {
	asked := orderRequest{r.shop.products[n%len(r.shop.products)].sku: 1}
	op := r.shop.log.begin("order", c.number, id.Random{}.New(), asked)
	answers := make([]answer, r.Posts+1)
	var posts sync.WaitGroup
	for i := range r.Posts {
		posts.Go(func() { answers[i] = r.post(ctx, c, op, asked) })
	}
	posts.Wait()
	answers[r.Posts] = r.post(ctx, c, op, asked) // the late one
	for _, a := range answers {
		switch {
		case a.err != nil:
			r.findings.add("every post of a key is answered", op.Key, "%v", a.err)
		case a.status != http.StatusAccepted || a.body != answers[0].body || a.location != answers[0].location:
			r.findings.add("all answers to a key are identical", op.Key, "%d %s %s, the first %d %s %s",
				a.status, a.location, a.body, answers[0].status, answers[0].location, answers[0].body)
		default:
			op.answered(a.id)
		}
	}
	op.finish(Acknowledged)
	other := orderRequest{r.shop.products[n%len(r.shop.products)].sku: 2}
	if a := r.post(ctx, c, op, other); a.err != nil || a.status != http.StatusUnprocessableEntity {
		r.findings.add("another request under a key is refused with 422", op.Key, "%d %s %v", a.status, a.body, a.err)
	}
}

// answer is the answer to one post, byte by byte.
type answer struct {
	status             int
	location, body, id string
	err                error
}

// post posts an order once and does not repeat it.
func (r *run) post(ctx context.Context, c *customer, op *Op, asked orderRequest) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	began := time.Now()
	defer func() { op.note(a.err, time.Since(began)) }()
	body, err := json.Marshal(map[string]any{"items": asked.items()})
	if err != nil {
		return answer{err: fmt.Errorf("writing the order: %w", err)}
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, r.shop.base+"/v1/orders", bytes.NewReader(body))
	if err != nil {
		return answer{err: fmt.Errorf("writing the order: %w", err)}
	}
	out.Header.Set("Content-Type", "application/json")
	out.Header.Set("Authorization", "Bearer "+c.Session().AccessToken)
	out.Header.Set(request.IdempotencyHeader, strconv.Quote(op.Key))
	in, err := r.shop.balancer.RoundTrip(out)
	if err != nil {
		return answer{err: err}
	}
	defer in.Body.Close()
	raw, err := io.ReadAll(in.Body)
	a = answer{status: in.StatusCode, location: in.Header.Get("Location"), body: string(raw), err: err}
	var accepted struct{ ID string }
	if json.Unmarshal(raw, &accepted) == nil {
		a.id = accepted.ID
	}
	return a
}
