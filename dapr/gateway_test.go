package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caravan/dapr/launcher/compose"
)

const auditJSON = `{"findings":[],"invariants":[],"counts":{},"complete":true}`

// gatewayWith is an API that accepts one login, or all addresses with that ending, and gives the answers of the test.
func gatewayWith(t *testing.T, email, password string, answers map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		refuse := func(status int) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"type":"urn:caravan:problem:refused","title":"Refused","status":`+map[int]string{401: "401", 403: "403", 404: "404"}[status]+`}`)
		}
		request := r.Method + " " + r.URL.Path
		answer, known := answers[request]
		switch {
		case request == "POST /v1/sessions":
			if !strings.Contains(string(body), email+`"`) || !strings.Contains(string(body), `"`+password+`"`) {
				refuse(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"accessToken":"token-of-a-test","expiresIn":900}`)
		case !known:
			refuse(http.StatusNotFound)
		case strings.HasPrefix(r.URL.Path, "/v1/ops/") && r.Header.Get("Authorization") != "Bearer token-of-a-test":
			refuse(http.StatusUnauthorized)
		case answer == "forbidden":
			refuse(http.StatusForbidden)
		default:
			if strings.Contains(answer, `"status":"unready"`) && request == "GET /healthz" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusCreated)
			}
			_, _ = io.WriteString(w, answer)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// composeRepository makes a folder with a compose/.env, changes to it and returns it.
func composeRepository(t *testing.T, env string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dapr/dapr.yaml", "")
	write("compose/compose.yaml", "name: caravan\n")
	if env != "" {
		write("compose/.env", env)
	}
	fakeDocker(t, noEngine) // by default, the test must not depend on this machine's containers
	t.Chdir(root)
	return root
}

func withoutPasswords(t *testing.T) {
	t.Helper()
	for _, name := range []string{"CUSTOMER_PASSWORD", "STAFF_PASSWORD", "ADMIN_PASSWORD", "CARAVAN_PASSWORD", "CARAVAN_PORT", "COMPOSE_PROJECT_NAME"} {
		t.Setenv(name, "")
	}
}

func TestCommandsLogInAtAnyGateway(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "staff@caravan.example", "right", map[string]string{
		"GET /v1/ops/audit": auditJSON, "GET /v1/ops/orders": `{"items":[]}`, "GET /v1/ops/dead-letters": `{"items":[]}`,
	})
	t.Setenv("STAFF_PASSWORD", "right")
	for _, test := range []struct{ args, want string }{
		{"audit", "Every invariant holds."}, {"orders waiting", "No order has been waiting"}, {"dead-letters", "There are no open dead letters"},
	} {
		status, out, stderr := invoke(t, append(strings.Fields(test.args), "--gateway", gateway)...)
		if status != exitOK || !strings.Contains(out, test.want) {
			t.Errorf("%s: status %d, said %q, %q", test.args, status, out, stderr)
		}
	}
	// Without staff, the admin acts.
	admin := gatewayWith(t, "admin@caravan.example", "right", map[string]string{"GET /v1/ops/audit": auditJSON})
	t.Setenv("STAFF_PASSWORD", "")
	t.Setenv("ADMIN_PASSWORD", "right")
	if status, _, stderr := invoke(t, "audit", "--gateway", admin); status != exitOK {
		t.Errorf("as the admin: status %d, said %q", status, stderr)
	}
}

func TestAnyAddressLogsInWithAPasswordThatIsNotOnTheCommandLine(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "somebody@example.org", "right", map[string]string{"GET /v1/ops/audit": auditJSON})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := []string{"audit", "--gateway", gateway, "--email", "somebody@example.org"}
	if status, _, stderr := invoke(t, append(login, "--password-file", file)...); status != exitOK {
		t.Errorf("from a file: status %d, said %q", status, stderr)
	}
	if status, _, stderr := invoke(t, login...); status != exitUsage || !strings.Contains(stderr, "CARAVAN_PASSWORD") {
		t.Errorf("without a password: status %d, said %q", status, stderr)
	}
	t.Setenv("CARAVAN_PASSWORD", "right")
	if status, _, stderr := invoke(t, login...); status != exitOK {
		t.Errorf("from the environment: status %d, said %q", status, stderr)
	}
}

func TestComposeIsReachedWithoutTyping(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "staff@caravan.example", "right", map[string]string{"GET /v1/ops/audit": auditJSON})
	port := gateway[strings.LastIndex(gateway, ":")+1:]
	composeRepository(t, "# secrets\nSTAFF_PASSWORD='right'\nCARAVAN_PORT="+port+" # of a test\n")
	want := "The gateway is taken to be at " + gateway + ", by its settings: no Docker engine answers"
	if status, out, stderr := invoke(t, "audit", "--target", "compose"); status != exitOK || !strings.Contains(out, "Every invariant holds.") || !strings.HasPrefix(stderr, want) {
		t.Errorf("status %d, said %q, %q", status, out, stderr)
	}
}

// Another program may use the port of compose/.env.
func TestThePortOfTheRunningProjectGoesBeforeThatOfItsSettings(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "staff@caravan.example", "right", map[string]string{"GET /v1/ops/audit": auditJSON})
	port := gateway[strings.LastIndex(gateway, ":")+1:]
	other := gatewayWith(t, "nobody", "", nil)
	composeRepository(t, "STAFF_PASSWORD=right\nCARAVAN_PORT="+other[strings.LastIndex(other, ":")+1:]+"\n")
	for _, test := range []struct {
		name, containers, args string
		status                 int
		want                   string
	}{
		{"of this machine", published("127.0.0.1", port), "audit", exitOK, "Every invariant holds."},
		{"of every address", published("0.0.0.0", port), "audit", exitOK, "Every invariant holds."},
		{"without an address", published("", port), "audit", exitOK, "Every invariant holds."},
		{"status", published("127.0.0.1", port), "status", exitOK, "Gateway " + gateway},
		{"stopped", inspected("gateway", `{"Status":"exited"}`), "audit", exitFailure, `the gateway of project "caravan" of docker compose does not run; see: go run ./dapr status --target compose`},
		{"not up", noContainers, "audit", exitFailure, "docker compose -f compose/compose.yaml up -d"},
	} {
		containers := test.containers
		if containers != noContainers {
			containers = "[" + containers + "]"
		}
		fakeDocker(t, containers)
		if status, out, stderr := invoke(t, test.args, "--target", "compose"); status != test.status || !strings.Contains(out+stderr, test.want) || strings.Contains(stderr, "refused the password") {
			t.Errorf("%s: status %d, said %q, %q, want %q", test.name, status, out, stderr, test.want)
		}
	}
}

func TestTheSourceOfARefusedPasswordIsNamed(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "nobody", "", nil)
	composeRepository(t, "CUSTOMER_PASSWORD=a\nSTAFF_PASSWORD=b\nCARAVAN_PORT="+gateway[strings.LastIndex(gateway, ":")+1:]+"\n")
	for _, test := range []struct{ variable, args, want string }{
		{"", "order", `customer@caravan.example, which is from compose/.env; the container "seed" may still be filling the shop`},
		{"CUSTOMER_PASSWORD", "order", "customer@caravan.example, which is from CUSTOMER_PASSWORD in the environment, not from compose/.env\n"},
		{"CUSTOMER_PASSWORD", "audit", "staff@caravan.example, which is from compose/.env"},
		{"CARAVAN_PASSWORD", "order --email a@example.org", "a@example.org, which is from CARAVAN_PASSWORD\n"},
	} {
		t.Run(test.variable+" "+test.args, func(t *testing.T) {
			if test.variable != "" {
				t.Setenv(test.variable, "wrong")
			}
			if status, _, stderr := invoke(t, append(strings.Fields(test.args), "--target", "compose")...); status != exitFailure || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, said %q, want %q", status, stderr, test.want)
			}
		})
	}
}

func TestLoginsThatCannotWorkAreExplained(t *testing.T) {
	withoutPasswords(t)
	gateway := gatewayWith(t, "staff@caravan.example", "right", nil)
	composeRepository(t, "")
	for _, test := range []struct {
		name, password string
		args           []string
		want           string
	}{
		{"no secrets", "", []string{"audit", "--target", "compose"}, "go run ./dapr secrets"},
		{"no password", "", []string{"audit", "--gateway", gateway}, "set STAFF_PASSWORD or ADMIN_PASSWORD in the environment, or"},
		{"no customer", "x", []string{"order", "--gateway", gateway}, "there is no customer to log in as at " + gateway + ": set CUSTOMER_PASSWORD in the environment, or"},
		{"wrong password", "wrong", []string{"audit", "--gateway", gateway}, "refused the password of staff@caravan.example, which is from the environment"},
		{"no gateway", "right", []string{"audit", "--gateway", "http://127.0.0.1:1"}, "no gateway answers at http://127.0.0.1:1"},
		{"no URL", "right", []string{"audit", "--gateway", "127.0.0.1:8080"}, "flag --gateway: want a URL, as http://127.0.0.1:8080"},
		{"no such target", "", []string{"audit", "--target", "compos"}, "want one of launcher, compose"},
		{"nobody's password", "", []string{"audit", "--gateway", gateway, "--password-file", "x"}, "--password-file needs --email"},
	} {
		t.Setenv("STAFF_PASSWORD", test.password)
		if status, _, stderr := invoke(t, test.args...); status == exitOK || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: status %d, said %q, want %q", test.name, status, stderr, test.want)
		}
	}
}

func TestEnvFilesAreRead(t *testing.T) {
	values := compose.ParseEnv("# A=1\n\nB=2\n C = 3 # a comment\nexport D=\"4 # 5\"\nE='6'\nF=\nG=a=b#c\nnothing\n")
	for name, want := range map[string]string{"A": "", "B": "2", "C": "3", "D": "4 # 5", "E": "6", "F": "", "G": "a=b#c"} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}
}

func TestStatusShowsWhatTheGatewayKnows(t *testing.T) {
	withoutPasswords(t)
	const (
		services = `{"items":[{"name":"orders","status":"ready","durationMs":1.5,"breaker":"closed"}]}`
		unready  = `{"items":[{"name":"orders","status":"unready","durationMs":1.5,"breaker":"open","detail":"no store"}]}`
		breakers = `{"items":[{"caller":"orders","app":"payments","target":"payments/charge","state":"open","since":"2026-03-01T12:00:00Z","refused":7,"opened":1}],"complete":true}`
		health   = `{"status":"ready","services":{"orders":{"status":"ready","durationMs":2}}}`
		sick     = `{"status":"unready","services":{"orders":{"status":"unready","durationMs":2}}}`
	)
	for _, test := range []struct {
		name, password string
		answers        map[string]string
		status         int
		says           []string
	}{
		{"staff", "right", map[string]string{"GET /v1/ops/services": services, "GET /v1/ops/breakers": breakers}, exitOK,
			[]string{"orders", "1.5 ms", "closed", "payments/charge", "open"}},
		{"staff, of an ill service", "right", map[string]string{"GET /v1/ops/services": unready, "GET /v1/ops/breakers": breakers}, exitFailure, []string{"no store"}},
		{"no staff", "right", map[string]string{"GET /v1/ops/services": "forbidden", "GET /healthz": health}, exitOK, []string{"orders", "2.0 ms"}},
		{"nobody", "", map[string]string{"GET /healthz": health}, exitOK, []string{"orders", "ready"}},
		{"nobody, of an ill service", "", map[string]string{"GET /healthz": sick}, exitFailure, []string{"unready"}},
	} {
		t.Setenv("STAFF_PASSWORD", test.password)
		gateway := gatewayWith(t, "staff@caravan.example", "right", test.answers)
		status, out, stderr := invoke(t, "status", "--gateway", gateway+"/")
		if status != test.status {
			t.Errorf("%s: status %d, said %q, %q", test.name, status, out, stderr)
		}
		for _, want := range test.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: said %q, want %q", test.name, out, want)
			}
		}
	}
	t.Setenv("STAFF_PASSWORD", "")
	if status, _, stderr := invoke(t, "status", "--gateway", gatewayWith(t, "", "", nil)); status != exitFailure || !strings.Contains(stderr, "not as a Caravan gateway does") {
		t.Errorf("of something else: status %d, said %q", status, stderr)
	}
	if status, _, stderr := invoke(t, "status", "--gateway", "http://127.0.0.1:1"); status != exitFailure || !strings.Contains(stderr, "no gateway answers") {
		t.Errorf("of nothing: status %d, said %q", status, stderr)
	}
}
