package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/process"

	"caravan/dapr/launcher/infra"
)

const repository = "../.."

func TestRunFileIsFollowed(t *testing.T) {
	p, err := readPlan(filepath.Join(repository, "dapr", "dapr.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob(filepath.Join(repository, "services", "*", "main.go"))
	if err != nil || len(programs) == 0 {
		t.Fatalf("found %v, %v", programs, err)
	}
	want := []string{"gateway"}
	for _, file := range programs {
		want = append(want, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(p.ids())); !slices.Equal(got, want) {
		t.Errorf("dapr/dapr.yaml lists the apps %q; the programs in services/ and the gateway are %q", got, want)
	}
	if len(p.resources) != 1 || p.resources[0] != filepath.Join(repository, "dapr", "resources") {
		t.Errorf("common resources are %v, want dapr/resources alone", p.resources)
	}
	if _, off := p.Common.Env["CARAVAN_HEARTBEAT_EVERY"]; off {
		t.Error("heartbeats are off, although the launcher restarts sidecars")
	}
	for _, a := range p.Apps {
		for _, path := range a.ResourcesPaths {
			if _, err := os.Stat(filepath.Join(a.Dir, path)); err != nil {
				t.Errorf("app %s: the Dapr CLI would not find %s", a.ID, path)
			}
		}
	}
}

func TestRunFileIsReadStrictly(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(repository, "dapr", "dapr.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"misspelt key":      {"appPort: 7001", "appport: 7001"},
		"unknown extension": {"x-components:", "x-component:"},
		"shared port":       {"appPort: 7002", "appPort: 7001"},
		"app listed twice":  {"appID: products", "appID: users"},
		"other command":     {"[go, run, ./services/orders]", "[./orders]"},
		"other version":     {"version: 1", "version: 2"},
		"port out of range": {"appPort: 7003", "appPort: 70003"},
		"CLI-only key":      {"logLevel: info", "logLevel: info\n  appMaxConcurrency: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(changed, raw) {
				t.Fatalf("dapr.yaml does not hold %q any more", change[0])
			}
			if _, err := parsePlan(changed); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestPortsInUseAreAllReported(t *testing.T) {
	s, err := newStack(Options{Root: repository, Dir: t.TempDir(), Only: []string{"users", "orders"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range s.plan.Apps {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		a.Port = listener.Addr().(*net.TCPAddr).Port
	}
	err = s.choosePorts()
	for _, want := range []string{"wanted for users", "wanted for orders", fmt.Sprintf("pid %d", os.Getpid())} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestManyPortsInUseAreOneComplaint(t *testing.T) {
	s, err := newStack(Options{Root: repository, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ports := 0
	for _, a := range s.plan.Apps {
		for _, port := range a.ports() {
			*port = takenPort(t)
			ports++
		}
	}
	err = s.choosePorts()
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Fatalf("got %v, want two lines", err)
	}
	for _, want := range []string{
		fmt.Sprintf("%d of the %d ports", ports, ports), "wanted for users", fmt.Sprintf("pid %d", os.Getpid()), fmt.Sprintf("and %d more", ports-1), "--free-ports",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func takenPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

func TestTheChosenPortIsChecked(t *testing.T) {
	reserved := process.NewPorts()
	t.Cleanup(reserved.Release)
	others, err := reserved.Take()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		port int
		free bool
		want string
	}{
		"in use":                 {takenPort(t), false, fmt.Sprintf("pid %d", os.Getpid())},
		"in use, others free":    {takenPort(t), true, fmt.Sprintf("pid %d", os.Getpid())},
		"a program's":            {7001, false, "that of users in dapr/dapr.yaml"},
		"its own sidecar's":      {3500, false, "that of gateway-daprd in dapr/dapr.yaml"},
		"reserved by a launcher": {others, true, "another stack"},
		"none":                   {99999, false, "from 1 to 65535"},
		"negative":               {-1, false, "from 1 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newStack(Options{Root: repository, Dir: t.TempDir(), Port: test.port, FreePorts: test.free})
			if err == nil {
				t.Cleanup(s.ports.Release)
				err = s.choosePorts()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line that says %q", err, test.want)
			}
		})
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	for name, options := range map[string]Options{
		"app":         {Only: []string{"user"}},
		"environment": {Env: map[string]map[string]string{"user": nil}},
	} {
		options.Root, options.Dir = repository, t.TempDir()
		if _, err := newStack(options); err == nil {
			t.Errorf("unknown %s accepted", name)
		}
	}
	for _, options := range []Options{{Broker: "carrier pigeon"}, {Store: "shoebox"}} {
		options.Root, options.Dir, options.FreePorts = repository, t.TempDir(), true
		if _, err := Start(t.Context(), options); err == nil || !strings.Contains(err.Error(), "there are") {
			t.Errorf("%+v: got %v, want the names there are", options, err)
		}
	}
}

func TestVersionsOfTheSidecar(t *testing.T) {
	for version, want := range map[string]string{"1.18.1": "1 18 true", "v1.17.0-rc.1": "1 17 true", "edge": "0 0 false", "": "0 0 false", "2.0.0": "2 0 true"} {
		major, minor, known := parseVersion(version)
		if got := fmt.Sprint(major, minor, known); got != want {
			t.Errorf("parseVersion(%q) = %s, want %s", version, got, want)
		}
	}
}

// testProgram builds the minimal app once per test binary.
func testProgram(t *testing.T) func(string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	command := goCommand(t.Context(), "", "build", "-o", path, "./testdata/program")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building the test program: %v\n%s", err, output)
	}
	return func(string) string { return path }
}

// leaveOut skips a test when this machine lacks something. In CI, which installs it, the test fails.
func leaveOut(t *testing.T, reason any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// sidecarForTests skips a test that needs a daprd when none is built yet.
func sidecarForTests(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	given := os.Getenv("CARAVAN_TEST_DAPRD")
	if given == "" {
		root, _ := filepath.Abs(repository)
		if _, ok, err := findSidecar(t.Context(), "", root, t.TempDir(), os.Getenv); err != nil || !ok {
			leaveOut(t, "no daprd is built yet: go run ./dapr doctor --build")
		}
	}
	return given
}

// TestStackOfEveryBrokerAndStore runs a small real stack. Two minimal apps with sidecars call each other, publish, and
// keep state, and every process recovers from a kill. After the stop nothing is left.
func TestStackOfEveryBrokerAndStore(t *testing.T) {
	daprd := sidecarForTests(t)
	program := testProgram(t)
	for _, kinds := range [][2]string{{"rabbitmq", "sqlite"}, {"kafka", "redis"}, {"kafka", "postgres"}} {
		t.Run(kinds[0]+"+"+kinds[1], func(t *testing.T) {
			s := startForTest(t, Options{
				Broker: kinds[0], Store: kinds[1], Daprd: daprd, Program: program, Only: []string{"users", "notifications"},
				Env: map[string]map[string]string{"users": {"GREETING": "hello"}},
			})
			checkInvocation(t, s)
			checkState(t, s)
			checkEvents(t, s, "before")
			awaitQueuesOnDisk(t, s)
			checkRecovery(t, s, "broker", "users-daprd", "notifications")
			checkEvents(t, s, "after")
			checkLogs(t, s)
			checkNothingLeft(t, s)
		})
	}
}

func startForTest(t *testing.T, options Options) *Stack {
	t.Helper()
	// The name of the folder has a special meaning for almost every program that gets it.
	options.Root, options.Dir, options.FreePorts = repository, filepath.Join(t.TempDir(), "it's issue#42 100%? ü"), true
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := Start(ctx, options)
	if errors.Is(err, infra.ErrNotInstalled) {
		leaveOut(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLogsOfFailure(t, s)
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Stop(stopping)
	})
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// showLogsOfFailure shows the warnings of every process after a failed test.
func showLogsOfFailure(t *testing.T, s *Stack) {
	t.Helper()
	if !t.Failed() {
		return
	}
	lines, _ := s.LogLines(LogLine.serious)
	for _, line := range lines {
		t.Log(Format(line, "", false))
	}
}

// sidecar sends a request to an app's sidecar.
func sidecar(t *testing.T, s *Stack, app, method, path, body string) (int, string) {
	t.Helper()
	status, err := s.Process(app + "-daprd")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, status.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken())
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

func eventually(t *testing.T, what string, condition func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, seen := condition()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about: %s", what, seen)
		}
		<-ticker.C
	}
}

func checkInvocation(t *testing.T, s *Stack) {
	t.Helper()
	if status, answer := sidecar(t, s, "notifications", "POST", "/v1.0/invoke/users/method/internal/echo", `"ping"`); status != 200 || answer != `"ping"` {
		t.Errorf("calling users from notifications: %d %s", status, answer)
	}
	users, _ := s.Process("users")
	response, err := http.Post(users.URL+"/internal/echo", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("calling users past its sidecar: %s, want 401", response.Status)
	}
}

func checkState(t *testing.T, s *Stack) {
	t.Helper()
	if status, answer := sidecar(t, s, "users", "POST", "/v1.0/state/store", `[{"key":"k","value":{"n":1},"options":{"concurrency":"first-write"}}]`); status != 204 {
		t.Fatalf("writing: %d %s", status, answer)
	}
	if status, answer := sidecar(t, s, "users", "GET", "/v1.0/state/store/k", ""); status != 200 || answer != `{"n":1}` {
		t.Errorf("reading back: %d %s", status, answer)
	}
	if status, _ := sidecar(t, s, "notifications", "GET", "/v1.0/state/store/k", ""); status != 204 {
		t.Errorf("another app's key is visible: %d", status)
	}
}

func checkEvents(t *testing.T, s *Stack, mark string) {
	t.Helper()
	consumer, _ := s.Process("notifications")
	eventually(t, "delivery of event "+mark, func() (bool, string) {
		// The event is published until it is received: only the change feed guarantees delivery.
		_, published := sidecar(t, s, "users", "POST", "/v1.0/publish/pubsub/users", fmt.Sprintf("%q", mark))
		response, err := http.Get(consumer.URL + "/events")
		if err != nil {
			return false, err.Error()
		}
		defer response.Body.Close()
		heard, _ := io.ReadAll(response.Body)
		return strings.Contains(string(heard), "users {") && strings.Contains(string(heard), fmt.Sprintf("%q", mark)), published + string(heard)
	})
}

// awaitQueuesOnDisk waits until RabbitMQ has stored its list of quorum queues, some seconds after it declared them. If
// it is killed before, it knows the queue afterwards, but the queue never works again (seen with 3.10.8).
func awaitQueuesOnDisk(t *testing.T, s *Stack) {
	t.Helper()
	if s.BrokerKind() != "rabbitmq" {
		return
	}
	files, _ := filepath.Glob(filepath.Join(s.Dir(), "data", "rabbitmq", "nodes", "*", "quorum", "*", "names.dets"))
	if len(files) != 1 {
		t.Fatalf("found %v", files)
	}
	eventually(t, "writing of the queues' names", func() (bool, string) {
		raw, err := os.ReadFile(files[0])
		for _, topic := range []string{"users", "orders", "payments", "notifications.dead"} {
			if !bytes.Contains(raw, []byte("notifications-"+topic)) {
				return false, fmt.Sprint("no ", topic, err)
			}
		}
		return true, ""
	})
}

// checkRecovery kills processes and waits until each is ready again.
func checkRecovery(t *testing.T, s *Stack, names ...string) {
	t.Helper()
	for _, name := range names {
		before, err := s.Process(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Kill(name, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "recovery of "+name, func() (bool, string) {
			now, _ := s.Process(name)
			return now.State == process.Ready && now.PID != before.PID, fmt.Sprintf("%+v", now)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Error(err)
	}
}

func checkLogs(t *testing.T, s *Stack) {
	t.Helper()
	lines, err := s.LogLines(func(l LogLine) bool { return l.Process == "users" && l.Message == "serving" })
	if err != nil || len(lines) != 1 || lines[0].Field("greeting") != "hello" {
		t.Errorf("log lines of users: %+v, %v", lines, err)
	}
}

func checkNothingLeft(t *testing.T, s *Stack) {
	t.Helper()
	if err := s.Publish([]User{s.Admin()}); err != nil {
		t.Fatal(err)
	}
	metadata, err := ReadMetadata(s.Dir())
	if err != nil || metadata.Broker.Kind != s.BrokerKind() || len(metadata.Processes) != len(s.Processes()) {
		t.Errorf("stack.json reads back as %+v, %v", metadata, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.Stop(ctx)
	if _, err := ReadMetadata(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stack.json is still there: %v", err)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(s.Dir())) {
			t.Errorf("left behind: %s", bytes.ReplaceAll(raw, []byte{0}, []byte{' '}))
		}
	}
	for _, p := range metadata.Processes {
		if process.StartTime(p.PID) != "" {
			t.Errorf("%s (pid %d) still runs", p.Name, p.PID)
		}
	}
}

func TestSecondStackInOneFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	release, err := claim(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := Start(t.Context(), Options{Root: repository, Dir: dir, FreePorts: true}); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
}
