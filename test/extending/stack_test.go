package extending

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/internal/id"
	"caravan/test/repository"
	"caravan/test/stacktest"
)

// deadline is how long a test waits for what has to happen. It is a guard, as machines differ.
const deadline = 2 * time.Minute

// stack starts the stack of the copy and follows an entry through it.
func stack(t *testing.T, root string) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time, daprd is built
	defer cancel()
	s, err := launcher.Start(ctx, launcher.Options{
		Root: root, Dir: dir, Broker: "rabbitmq", Store: "sqlite", FreePorts: true,
		Daprd: stacktest.Take("CARAVAN_DAPRD"), Env: stacktest.Environment(repository.Root(root).AppIDs()),
	})
	if s != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			s.Stop(ctx)
		})
	}
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	admin := &user{t: t, base: s.GatewayURL(), email: s.Admin().Email, password: s.Admin().Password}
	ada := &user{t: t, base: s.GatewayURL(), email: "ada@example.com", password: "correct horse battery staple"}
	ada.register()

	// The event of users was consumed.
	ada.eventually("/v1/"+name+"/"+id.Derive("entry/", ada.id, "users.registered.v1"), `"text":"Welcome."`)

	// The service answers through the gateway, and once for each key.
	made := ada.must(http.MethodPost, "/v1/"+name, "k1", `{"text":"Hello"}`, http.StatusCreated)
	var entry struct{ ID string }
	if err := json.Unmarshal([]byte(made), &entry); err != nil {
		t.Fatal(err)
	}
	path := "/v1/" + name + "/" + entry.ID
	ada.must(http.MethodGet, path, "", "", http.StatusOK)
	admin.must(http.MethodGet, path, "", "", http.StatusNotFound)

	// The document survives a kill of the program.
	if err := s.Crash(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := s.Raise(name); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitProcess(ctx, name); err != nil {
		t.Fatal(err)
	}
	ada.eventually(path, `"text":"Hello"`)
	if again := ada.must(http.MethodPost, "/v1/"+name, "k1", `{"text":"Hello"}`, http.StatusCreated); again != made {
		t.Errorf("a repeat after the kill is %s; it was %s", again, made)
	}

	// The endpoint and the consumer of the examples.
	admin.eventually("/v1/"+name+"?limit=10", entry.ID)
	ada.must(http.MethodGet, "/v1/"+name, "", "", http.StatusForbidden)
	order(admin, ada)
	admin.eventually("/v1/"+name+"?limit=10", "Thank you for your order.")
	admin.must(http.MethodGet, "/v1/ops/"+name+"/dead-letters", "", "", http.StatusOK)

	// Its own event is in its feed, as the audit of the whole system says.
	admin.eventually("/v1/ops/audit", `"complete":true`)
	audited(t, admin)
}

// order has ada buy something that the admin sells.
func order(admin, ada *user) {
	admin.must(http.MethodPost, "/v1/products", "", `{"sku":"MUG-1","name":"Mug","description":"A mug.","category":"mugs","price":{"amount":500,"currency":"EUR"}}`, http.StatusCreated)
	admin.must(http.MethodPost, "/v1/products/MUG-1/stock", "s1", `{"change":5,"reason":"received"}`, http.StatusOK)
	ada.must(http.MethodPost, "/v1/wallet/deposits", "d1", `{"amount":1000,"currency":"EUR","source":"tok_ok"}`, http.StatusCreated)
	ada.must(http.MethodPost, "/v1/orders", "o1", `{"items":[{"sku":"MUG-1","quantity":1}]}`, http.StatusAccepted)
}

// audited waits until the audit has found the events of the service in its feed.
func audited(t *testing.T, admin *user) {
	t.Helper()
	admin.until("the audit of "+name, func() error {
		_, body := admin.call(http.MethodGet, "/v1/ops/audit", "", "")
		var report struct {
			Findings   []any
			Complete   bool
			Invariants []struct {
				Service, Invariant string
				Checked            int
			}
		}
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			return err
		}
		if len(report.Findings) > 0 {
			return fmt.Errorf("the audit finds %v", report.Findings)
		}
		checked := make(map[string]int)
		for _, i := range report.Invariants {
			if i.Service == name {
				checked[i.Invariant] = i.Checked
			}
		}
		for _, invariant := range []string{name + "-entry-is-its-key", "event-in-feed"} {
			if checked[invariant] < 3 {
				return fmt.Errorf("%s was checked %d times, complete: %t", invariant, checked[invariant], report.Complete)
			}
		}
		return nil
	})
}

// user is a client of the gateway.
type user struct {
	t                         *testing.T
	base, email, password, id string
	token                     string
}

// register creates the account.
func (u *user) register() {
	u.t.Helper()
	var account struct{ ID string }
	u.until("the gateway", func() error {
		status, body := u.anonymous("/v1/users", fmt.Sprintf(`{"email":%q,"password":%q,"name":"Ada"}`, u.email, u.password))
		if status != http.StatusCreated {
			return fmt.Errorf("registering is %d %s", status, body)
		}
		return json.Unmarshal([]byte(body), &account)
	})
	u.id = account.ID
}

// logIn gets an access token; one that is there is kept.
func (u *user) logIn() error {
	if u.token != "" {
		return nil
	}
	status, body := u.anonymous("/v1/sessions", fmt.Sprintf(`{"email":%q,"password":%q}`, u.email, u.password))
	if status != http.StatusCreated {
		return fmt.Errorf("logging in is %d %s", status, body)
	}
	var session struct{ AccessToken string }
	err := json.Unmarshal([]byte(body), &session)
	u.token = session.AccessToken
	return err
}

func (u *user) anonymous(path, body string) (int, string) {
	return u.send(http.MethodPost, path, "", body, "")
}

// call sends a request as the user; status 0 stands for no answer.
func (u *user) call(method, path, key, body string) (int, string) {
	if err := u.logIn(); err != nil {
		return 0, err.Error()
	}
	return u.send(method, path, key, body, u.token)
}

func (u *user) send(method, path, key, body, token string) (int, string) {
	r, err := http.NewRequestWithContext(u.t.Context(), method, u.base+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, strings.TrimSpace(string(raw))
}

// must sends a request until it is answered with the status; one that is answered with 4xx is not repeated.
func (u *user) must(method, path, key, body string, want int) string {
	u.t.Helper()
	var got string
	u.until(method+" "+path, func() error {
		var status int
		status, got = u.call(method, path, key, body)
		switch {
		case status == want:
			return nil
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
			u.t.Fatalf("%s %s is %d %s; want %d", method, path, status, got, want)
		}
		return fmt.Errorf("it is %d %s; want %d", status, got, want)
	})
	return got
}

// eventually waits until a page has a text.
func (u *user) eventually(path, want string) {
	u.t.Helper()
	u.until(path, func() error {
		if status, body := u.call(http.MethodGet, path, "", ""); status != http.StatusOK || !strings.Contains(body, want) {
			return fmt.Errorf("it is %d %.300s, without %s", status, body, want)
		}
		return nil
	})
}

// until waits for a condition.
func (u *user) until(what string, condition func() error) {
	u.t.Helper()
	for end := time.Now().Add(deadline); ; {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			u.t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond) // between two looks at a condition
	}
}
