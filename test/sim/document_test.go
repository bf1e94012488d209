package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"caravan/dapr/client"
	"caravan/internal/correlation"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/problem"
	notifications "caravan/services/notifications/domain"
	"caravan/test/apicheck"
)

// TestTheDocumentIsKept sends the programs what gateway/openapi.yaml forbids. For each operation with a body it sends
// its example with one thing wrong, in every place and way that the schema has. It does the same for each query and
// Idempotency-Key. Each must be refused with a problem that names the field. Then the example itself must be accepted,
// which shows that each refusal had only that one reason, and changed nothing.
//
// It fails for an operation that it does not know how to call.
func TestTheDocumentIsKept(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository(), "gateway", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := apicheck.Parse(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	operations, err := document.Operations()
	if err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	synctest.Test(t, func(t *testing.T) { inQuietWorld(t, keys, func(w *World) { newClerk(t, w).check(operations) }) })
}

// inQuietWorld runs f in a world without faults and without people.
func inQuietWorld(t *testing.T, keys string, f func(*World)) {
	w := newWorld(1, Faults{Email: true, Push: true}, keys, silent())
	if err := w.broker.read(repository()); err != nil {
		t.Fatal(err)
	}
	w.open()
	done := false
	go func() {
		defer w.arrive("the end of the visit", func() { done = true })
		f(w)
	}()
	if err := w.run("the visit to end", func() bool { return done }, visiting); err != nil {
		t.Error(err)
	}
	w.calm = true
	w.close()
	end := w.now().Add(10 * time.Minute) // an audit waits a minute for each store
	_ = w.run("goroutines to end", func() bool { return !w.now().Before(end) }, 15*time.Minute)
}

// direct sends a request straight to the program that answers it.
type direct struct{ world *World }

// RoundTrip lets the program handle the request.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	app := r.URL.Host // of an event, see letter
	if !strings.HasPrefix(r.URL.Path, "/events/") {
		var err error
		if app, err = answering(r); err != nil {
			return nil, err
		}
	}
	for _, replica := range d.world.replicas {
		if replica.app == app {
			recorder := httptest.NewRecorder()
			in := r.Clone(r.Context())
			if in.Body == nil {
				in.Body = http.NoBody
			}
			in.Header.Set("dapr-api-token", appToken)
			replica.program.service.ServeHTTP(recorder, in)
			return recorder.Result(), nil
		}
	}
	return nil, fmt.Errorf("%s, which answers %s, does not run; add it to apps in test/sim/program.go", app, r.URL.Path)
}

// clerk calls every operation, with all permissions.
type clerk struct {
	t      *testing.T
	world  *World
	http   *http.Client
	client *client.Client
	ids    map[string]string // the values of {id} and {sku}, by operation
	values map[string]string // of members and parameters that only a running shop knows, by operation and name
	sent   int
}

func newClerk(t *testing.T, w *World) *clerk {
	return &clerk{t: t, world: w, http: &http.Client{Transport: direct{w}}, ids: make(map[string]string), values: make(map[string]string)}
}

// gatewayOnly are the operations that the gateway answers itself, without body and parameters. It refuses a query of
// the last two (gateway/ops). The others ignore a query, because a monitor may add one to their address.
var gatewayOnly = []string{"live", "ready", "health", "describe", "opsListServices", "opsListBreakers"}

func (c *clerk) check(operations []apicheck.Operation) {
	c.prepare(operations)
	for _, o := range operations {
		if slices.Contains(gatewayOnly, o.ID) {
			if len(o.Query) > 0 || o.Example != nil {
				c.t.Errorf("%s takes something, and nothing checks what", o.ID)
			}
			continue
		}
		c.bodies(o)
		c.queries(o)
		c.keys(o)
	}
	// Operations that end the example's account come last.
	slices.SortStableFunc(operations, func(a, b apicheck.Operation) int { return order(a) - order(b) })
	for _, o := range operations {
		if !slices.Contains(gatewayOnly, o.ID) {
			c.accepts(o)
		}
	}
	c.t.Logf("%d requests", c.sent)
}

// order puts the example of an operation after those whose results it needs, and changes of the account at the end.
func order(o apicheck.Operation) int {
	switch o.ID {
	case "registerUser", "createProduct", "verifyEmail":
		return 0
	case "refreshSession", "deleteNotification":
		return 2
	case "changeOwnPassword":
		return 3
	case "signOut":
		return 4
	}
	return 1
}

// prepare makes what the operations need: an order of each kind, dead letters and batches of them, and what the rest of the
// operations is about.
func (c *clerk) prepare(operations []apicheck.Operation) {
	ctx := context.Background()
	var err error
	c.client, err = client.New("http://shop", c.http).Login(ctx, adminEmail, password)
	for err != nil { // the first admin may not exist yet
		time.Sleep(time.Second)
		c.client, err = client.New("http://shop", c.http).Login(ctx, adminEmail, password)
	}
	must := func(err error) {
		if err != nil {
			c.t.Errorf("preparing: %v", err)
		}
	}
	_, err = c.client.CreateProduct(ctx, client.NewProduct{SKU: "SIM-1", Name: "Tin", Category: "sim", Price: money.New(1000, currency), Stock: 5})
	must(err)
	deposit, err := c.client.TopUp(ctx, "first", money.New(100_000, currency))
	must(err)
	placed, err := c.client.PlaceOrder(ctx, "paid", client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: "SIM-1", Quantity: 1}}})
	must(err)
	_, err = c.client.AwaitOrder(ctx, placed.ID)
	must(err)
	me, err := c.client.GetOwnUser(ctx)
	must(err)
	notices := c.notices(ctx)
	for _, id := range []string{"getOrder", "cancelOrder", "refundOrder", "opsRetryOrder", "opsCancelOrder"} {
		c.ids[id] = placed.ID
	}
	for _, id := range []string{"getProduct", "updateProduct", "adjustStock", "watchProduct", "unwatchProduct"} {
		c.ids[id] = "SIM-1"
	}
	c.ids["getDeposit"], c.ids["setUserRoles"], c.ids["readNotification"] = deposit.ID, me.ID, notices
	c.ids["deleteNotification"] = notices
	c.ids["opsResendNotification"] = c.mail(ctx)
	c.tokens(ctx, must)
	welcome, _ := notifications.KindNamed("welcome")
	link := notifications.NewUnsubscribe(me.ID, welcome, notifications.Email, time.Now()).Token([]byte(unsubscribeKey))
	c.values["showUnsubscription.token"], c.values["unsubscribe.token"] = link, link
	c.values["changeOwnPassword.currentPassword"] = password
	c.values["refreshSession.refreshToken"] = c.client.Session().RefreshToken
	c.letters(operations)
	c.created(operations)
}

// tokens gets tokens from mails. The password that is reset is that of somebody else, as all sessions end.
func (c *clerk) tokens(ctx context.Context, must func(error)) {
	const other = "forgetful@example.com"
	_, err := c.client.RegisterUser(ctx, client.Registration{Email: other, Password: password, Name: "Forgetful"})
	must(err)
	_, err = c.client.RequestPasswordReset(ctx, client.PasswordResetRequest{Email: other})
	must(err)
	c.values["verifyEmail.token"] = c.world.token(adminEmail, "verify-email")
	c.values["resetPassword.token"] = c.world.token(other, "reset-password")
}

// mail waits for the first e-mail that was sent.
func (c *clerk) mail(ctx context.Context) string {
	for {
		list, err := c.client.OpsListNotifications(ctx, client.OpsListNotificationsParams{Status: client.DeliveryStatusSent})
		if err == nil && len(list.Items) > 0 {
			return list.Items[0].ID
		}
		time.Sleep(time.Second)
	}
}

// notices waits for the first notification.
func (c *clerk) notices(ctx context.Context) string {
	for {
		list, err := c.client.ListNotifications(ctx, client.ListNotificationsParams{Limit: 1})
		if err != nil {
			c.t.Error(err)
			return ""
		}
		if len(list.Items) > 0 {
			return list.Items[0].ID
		}
		time.Sleep(time.Second)
	}
}

// bodies sends every wrong body of an operation.
func (c *clerk) bodies(o apicheck.Operation) {
	for _, wrong := range o.Wrong {
		status, p := c.send(o, "", quoted(o.ID), wrong.Body)
		if status < 400 || status >= 500 || !names(p, wrong.Field) {
			c.t.Errorf("%s, %s at %q: %d %s\n\t%.300s", o.ID, wrong.Name, wrong.Field, status, said(p), wrong.Body)
		}
	}
	if o.Example != nil && !o.Optional {
		if status, _ := c.send(o, "", quoted(o.ID), nil); status != http.StatusUnsupportedMediaType && status != http.StatusBadRequest {
			c.t.Errorf("%s without a body: %d", o.ID, status)
		}
	}
	if o.Form {
		return
	}
	if o.Example == nil && o.Method == http.MethodPost { // a body would be ignored, so it must be refused
		if status, p := c.send(o, "", quoted(o.ID), []byte(`{"unexpected":1}`)); status != http.StatusBadRequest || !names(p, "unexpected") {
			c.t.Errorf("%s with a body that nobody reads: %d %s", o.ID, status, said(p))
		}
	}
}

// queries sends every wrong query of an operation.
func (c *clerk) queries(o apicheck.Operation) {
	body := o.Example
	if o.Form {
		body = c.filled(o)
	}
	if o.Example != nil {
		body = []byte(`{}`) // so that an accepted request does nothing
	}
	refused := func(query, field string) {
		status, p := c.send(o, query, quoted(o.ID), body)
		if status != http.StatusBadRequest || !names(p, field) {
			c.t.Errorf("%s?%s: %d %s; want %s to be named", o.ID, query, status, said(p), field)
		}
	}
	refused("unexpected=1", "unexpected")
	refused("unexpected", "unexpected")
	right := c.rightQuery(o)
	for _, p := range o.Query {
		if p.Right == "" && p.Name != "cursor" {
			c.t.Errorf("%s: %s has no example", o.ID, p.Name)
		}
		if p.Name == "cursor" {
			c.forged(o)
		}
		with := func(value string) string { // the other parameters stay valid
			query, _ := url.ParseQuery(right) // Encode made it
			query.Del(p.Name)
			return strings.TrimPrefix(query.Encode()+"&"+p.Name+value, "&")
		}
		value := "=" + url.QueryEscape(p.Right)
		refused(with(value+"&"+p.Name+value), p.Name)
		refused(with(value+";x=1"), p.Name)
		refused(with(value+";"), p.Name)
		refused(with(value+"%"), p.Name)
		refused(with(value+"%zz"), p.Name)
		refused(with(value+"%ff"), p.Name)
		refused(with(value+"%00"), p.Name)
		refused(with(value+"&unexpected="), "unexpected")
		for _, wrong := range p.Wrong {
			refused(with("="+url.QueryEscape(wrong)), p.Name)
			if wrong == "" {
				refused(with(""), p.Name)
			}
		}
	}
}

// forged sends cursors that no list returned. The answer must be a page or a problem, and never a server error.
func (c *clerk) forged(o apicheck.Operation) {
	for _, position := range []any{
		map[string]any{}, nil, map[string]any{"b": nil}, map[string]any{"b": -1}, map[string]any{"b": 0}, map[string]any{"b": math.MaxInt64},
		map[string]any{"b": math.MinInt64}, map[string]any{"f": ""}, map[string]any{"f": "0.0.0"}, map[string]any{"f": "9223372036854775807.0.0"},
		map[string]any{"f": "9223372036854775807.0.9223372036854775807", "k": math.MaxInt64}, map[string]any{"f": "0.0.0", "k": math.MinInt64},
	} {
		began := time.Now()
		status, p := c.send(o, "cursor="+page.Encode(position), nil, nil)
		if status != http.StatusOK && (status != http.StatusBadRequest || !names(p, "cursor")) || time.Since(began) > 5*time.Second {
			c.t.Errorf("%s with the cursor of %v, after %s: %d %s", o.ID, position, time.Since(began), status, said(p))
		}
	}
}

// rightQuery is a query with every parameter that the operation knows, except the cursor.
func (c *clerk) rightQuery(o apicheck.Operation) string {
	query := url.Values{}
	for _, p := range o.Query {
		if right := cmp.Or(c.values[o.ID+"."+p.Name], p.Right); right != "" {
			query.Set(p.Name, right)
		}
	}
	return query.Encode()
}

// keys sends every wrong Idempotency-Key of an operation.
func (c *clerk) keys(o apicheck.Operation) {
	if o.Key == "" {
		return
	}
	wrong := [][]string{
		{""}, {`""`}, {"a", "b"}, {"a", ""}, {`"a`}, {"a b"}, {"a,b"}, {`"a";x=1`}, {"ä"}, {strings.Repeat("k", 256)}, {`"` + strings.Repeat("k", 256) + `"`},
	}
	if o.Key == "required" {
		wrong = append(wrong, nil)
	}
	for _, key := range wrong {
		status, p := c.send(o, "", key, o.Example)
		if status != http.StatusBadRequest || !names(p, "Idempotency-Key") {
			c.t.Errorf("%s with the keys %.40q: %d %s", o.ID, key, status, said(p))
		}
	}
}

// ended are operations whose example is about an order, a batch or a verification that has ended. The conflict shows that the request
// itself was read.
var ended = map[string]int{
	"opsRetryOrder": http.StatusConflict, "cancelOrder": http.StatusConflict, "opsCancelOrder": http.StatusConflict, "opsReplayDeadLetter": http.StatusUnprocessableEntity,
	"requestVerification": http.StatusConflict, "opsCancelReplay": http.StatusConflict, "opsCancelDiscard": http.StatusConflict,
}

// accepts sends the example of an operation, with a key that contains a space, and repeats it with the same key.
func (c *clerk) accepts(o apicheck.Operation) {
	if strings.Contains(o.Path, "{") && c.ids[o.ID] == "" {
		c.t.Errorf("nobody knows what to put into %s (%s): no operation creates it with its example; add an id to prepare in test/sim/document_test.go", o.Path, o.ID)
		return
	}
	status, p := c.send(o, c.rightQuery(o), quoted(o.ID), c.filled(o))
	if status >= 300 && status != ended[likeOf(o)] {
		c.t.Errorf("%s with its example: %d %s", o.ID, status, said(p))
	}
	if o.Key == "" {
		return
	}
	if again, p := c.send(o, c.rightQuery(o), quoted(o.ID), c.filled(o)); again != status {
		c.t.Errorf("%s with its example again: %d %s; before %d", o.ID, again, said(p), status)
	}
}

// filled is the example of an operation, with the members that only a running shop knows.
func (c *clerk) filled(o apicheck.Operation) []byte {
	if o.Form {
		return []byte("List-Unsubscribe=One-Click")
	}
	if o.Example == nil {
		return nil
	}
	var body map[string]any
	if err := json.Unmarshal(o.Example, &body); err != nil {
		c.t.Fatal(err)
	}
	for name := range body {
		if value, ok := c.values[o.ID+"."+name]; ok {
			body[name] = value
		}
	}
	if o.ID == "setUserRoles" {
		body["roles"] = []string{"admin", "staff", "customer"} // an admin must stay one
	}
	filled, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return filled
}

// quoted is a key with a space, in the form of the draft.
func quoted(name string) []string { return []string{`"the key of ` + name + `"`} }

// send makes a request and reads the problem of the answer, if it has one.
func (c *clerk) send(o apicheck.Operation, query string, keys []string, body []byte) (status int, p problem.Problem) {
	c.sent++
	path := o.Path
	if before, after, found := strings.Cut(path, "{"); found {
		_, rest, _ := strings.Cut(after, "}")
		path = before + c.ids[o.ID] + rest
	}
	ctx, cancel := context.WithTimeout(correlation.With(context.Background(), fmt.Sprintf("clerk.%d", c.sent)), time.Minute)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, o.Method, "http://shop"+path, bytes.NewReader(body))
	r.RequestURI, r.URL.RawQuery = "", query
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if o.Form {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if o.Key != "" && keys != nil {
		r.Header["Idempotency-Key"] = keys
	}
	if o.SignedIn {
		r.Header.Set("Authorization", "Bearer "+c.client.Session().AccessToken)
	}
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Errorf("%s: %v", o.ID, err)
		return 0, p
	}
	raw, _ := io.ReadAll(response.Body) // a recorder has no errors
	if response.StatusCode >= 400 {
		if err := json.Unmarshal(raw, &p); err != nil {
			c.t.Errorf("%s answered %d %s", o.ID, response.StatusCode, raw)
		}
	}
	return response.StatusCode, p
}

// names reports whether a problem is about a field or a part of it.
func names(p problem.Problem, field string) bool {
	return slices.ContainsFunc(p.Errors, func(e problem.FieldError) bool {
		rest, ok := strings.CutPrefix(e.Field, field)
		return ok && (field == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func said(p problem.Problem) string { return fmt.Sprintf("%s %s %+v", p.Type, p.Detail, p.Errors) }
