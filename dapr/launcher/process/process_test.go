package process

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const waitLimit = 10 * time.Second

func shell(name, script string) Spec {
	return Spec{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}, StopTimeout: time.Second}
}

func supervise(t *testing.T, spec Spec) *Process {
	t.Helper()
	supervisor := NewSupervisor(t.TempDir(), nil, nil)
	p, err := supervisor.Add(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close(context.Background())
		supervisor.Close()
	})
	return p
}

func await(t *testing.T, p *Process, what string, condition func(Status) bool) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	var status Status
	if !p.until(func() bool { status = p.status(); return condition(status) }, ctx.Done()) {
		t.Fatalf("%s: still %+v", what, status)
	}
	return status
}

func TestProcessIsRestartedWhenItDies(t *testing.T) {
	p := supervise(t, shell("sleeper", "exec sleep 600"))
	p.Start()
	first := await(t, p, "first life", func(s Status) bool { return s.State == Ready })
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := await(t, p, "second life", func(s Status) bool { return s.State == Ready && s.PID != first.PID })
	if second.Restarts != 1 || second.LastExit != "signal: killed" {
		t.Errorf("got %+v, want one restart after signal: killed", second)
	}
}

// TestFilesStayOpenOverRestarts: each life of a process gets the same open file.
func TestFilesStayOpenOverRestarts(t *testing.T) {
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(output.Close(), input.Close()) }) // after the supervisor has ended
	spec := shell("writer", "echo $$ >&3; exec sleep 600")
	spec.Files = []*os.File{input}
	p := supervise(t, spec)
	p.Start()
	last := 0
	for range 2 {
		text := make([]byte, 20)
		if err := output.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
			t.Fatal(err)
		}
		n, err := output.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
		if err != nil || pid == last {
			t.Errorf("pid %d after %d, %v", pid, last, err)
		}
		last = pid
		await(t, p, "the process that wrote", func(s Status) bool { return s.State == Ready && s.PID == pid })
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoppedProcessStaysDownUntilStarted(t *testing.T) {
	p := supervise(t, shell("sleeper", "exec sleep 600"))
	p.Start()
	first := await(t, p, "up", func(s Status) bool { return s.State == Ready })
	p.Stop(context.Background())
	if status := p.Status(); status.State != Stopped || status.PID != 0 {
		t.Fatalf("after Stop: %+v", status)
	}
	if StartTime(first.PID) != "" {
		t.Errorf("pid %d still exists", first.PID)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal to a stopped process: %v, want ErrNotRunning", err)
	}
	p.Start()
	await(t, p, "up again", func(s Status) bool { return s.State == Ready })
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	p := supervise(t, shell("stubborn", "trap '' TERM; while :; do sleep 1; done"))
	p.Start()
	await(t, p, "up", func(s Status) bool { return s.State == Ready })
	p.Stop(context.Background())
	if status := p.Status(); status.State != Stopped {
		t.Errorf("after Stop: %+v", status)
	}
}

func TestDescendantsEndWithTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	p := supervise(t, Spec{
		Name: "parent", Path: "/bin/sh", Env: []string{"PATH=" + os.Getenv("PATH")},
		Args: []string{"-c", "sleep 600 & echo $! > " + file + "; wait"},
		Ready: func(context.Context) error {
			raw, err := os.ReadFile(file)
			if err == nil && !strings.HasSuffix(string(raw), "\n") {
				err = errors.New("not written yet")
			}
			return err
		},
	})
	p.Start()
	await(t, p, "up", func(s Status) bool { return s.State == Ready })
	raw, _ := os.ReadFile(file)
	child, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	p.Stop(context.Background())
	// init reaps a killed orphan a moment later.
	deadline := time.Now().Add(waitLimit)
	for f := statFields("/proc/" + strconv.Itoa(child) + "/stat"); len(f) > 0 && f[0] != "Z"; f = statFields("/proc/" + strconv.Itoa(child) + "/stat") {
		if time.Now().After(deadline) {
			t.Fatalf("child %d of a stopped process still runs", child)
		}
	}
}

func TestOutputIsLogged(t *testing.T) {
	p := supervise(t, shell("talker", `echo '{"msg":"hello"}'; echo oops >&2; exec sleep 600`))
	p.Start()
	deadline := time.Now().Add(waitLimit)
	for {
		raw, err := os.ReadFile(p.log.path)
		if err == nil && string(raw) == "{\"msg\":\"hello\"}\noops\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log is %q (%v)", raw, err)
		}
	}
}

func TestWaitReadyExplainsWhatEnded(t *testing.T) {
	p := supervise(t, shell("broken", "echo no such database; exit 3"))
	p.Start()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	err := p.WaitReady(ctx, 0)
	for ; err == nil || !strings.Contains(err.Error(), "exit status"); err = p.WaitReady(ctx, 0) {
		if ctx.Err() != nil { // without a probe, it may be seen ready in the moment in which it runs
			t.Fatal(err)
		}
	}
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "no such database") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want the log line and the exit status", err)
	}
}

func TestWaitReadyNamesTheCauseFirst(t *testing.T) {
	noise := strings.Repeat(`{"time":"2026-01-02T03:04:05Z","level":"info","msg":"`+strings.Repeat("x", 500)+`"}`+"\n", 30)
	trouble := `{"time":"2026-01-02T03:04:05Z","level":"error","msg":"no room\nat all","error":"disk full"}` + "\n"
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(noise+strings.Repeat(trouble, 9)+noise), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := shell("broker", "cat "+file+"; exec sleep 600")
	spec.Ready = func(context.Context) error {
		return errors.New("nothing answers")
	}
	p := supervise(t, spec)
	p.Start()
	await(t, p, "running", func(s Status) bool { return s.PID != 0 })
	for deadline := time.Now().Add(waitLimit); !strings.HasSuffix(p.log.lastLines(), noise[len(noise)-100:]); {
		if time.Now().After(deadline) {
			t.Fatal("the log was not written")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := p.WaitReady(ctx, 3)
	var failed *FailedError
	if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if !strings.HasPrefix(lines[0], "broker is not ready after ") || !strings.HasSuffix(lines[0], "it runs, but nothing answers") ||
		len(lines) > 7 || lines[len(lines)-1] != "Its log is "+p.log.path {
		t.Errorf("got %v", err)
	}
	failed.Log = noise + strings.Repeat(trouble, 9) + noise
	if text := failed.Error(); strings.Count(text, "\n  no room: disk full\n") == 0 || strings.Contains(text, "xxx") || strings.Count(text, "\n") != 6 {
		t.Errorf("got %q, want the errors of the log alone, and not all", text)
	}
}

func TestProcessWaitsForWhatItNeeds(t *testing.T) {
	broker := supervise(t, shell("broker", "exec sleep 600"))
	spec := shell("sidecar", "exec sleep 600")
	spec.Needs = []*Process{broker}
	sidecar := supervise(t, spec)
	broker.Start()
	sidecar.Start()
	first := await(t, sidecar, "up", func(s Status) bool { return s.State == Ready })

	broker.Stop(context.Background())
	if err := sidecar.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, sidecar, "waiting", func(s Status) bool { return s.State == Waiting })
	broker.Start()
	second := await(t, sidecar, "up again", func(s Status) bool { return s.State == Ready })
	if second.PID == first.PID || second.Restarts != 1 {
		t.Errorf("got %+v, want one restart", second)
	}

	broker.Stop(context.Background())
	if err := sidecar.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, sidecar, "waiting", func(s Status) bool { return s.State == Waiting })
	sidecar.Stop(context.Background()) // does not wait for what it needs
}

func TestStatusSaysWhyItIsNotReady(t *testing.T) {
	broker := supervise(t, shell("broker", "exec sleep 600"))
	spec := shell("sidecar", "exec sleep 600")
	spec.Needs = []*Process{broker}
	spec.Ready = func(context.Context) error { return errors.New("the probe fails") }
	sidecar := supervise(t, spec)
	says := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(waitLimit); sidecar.Status().Why != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it says %q, want %q", sidecar.Status().Why, want)
			}
		}
	}
	sidecar.Start()
	says("waits for broker")
	sidecar.Stop(context.Background())
	says("")
	sidecar.Start()
	says("waits for broker")
	broker.Start()
	says("the probe fails")
	sidecar.Stop(context.Background())
	says("")
}

func TestFrozen(t *testing.T) {
	p := supervise(t, shell("sleeper", "exec sleep 600"))
	p.Start()
	status := await(t, p, "up", func(s Status) bool { return s.State == Ready })
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(waitLimit); Frozen(status.PID) != (signal == syscall.SIGSTOP); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after %s it is %t", signal, Frozen(status.PID))
			}
		}
	}
	if Frozen(0) {
		t.Error("no process is frozen")
	}
}

func TestMissingProgramIsAFailureNotAPanic(t *testing.T) {
	p := supervise(t, Spec{Name: "ghost", Path: "/nonexistent/program"})
	p.Start()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := p.WaitReady(ctx, 0); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestAPortForRootIsNotInUse(t *testing.T) {
	if listen(1) == nil {
		t.Skip("this user may listen on every port")
	}
	if err := CheckPort(1, "gateway"); err == nil || strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func TestPortInUseNamesItsHolder(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	err = CheckPort(port, "orders")
	var inUse *PortInUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() || inUse.Port != port {
		t.Fatalf("got %v, want this process (%d) named as the holder", err, os.Getpid())
	}
	if !strings.Contains(err.Error(), "wanted for orders") {
		t.Errorf("%q does not say what the port was wanted for", err)
	}
}

func TestTakenPortsDiffer(t *testing.T) {
	one, two := NewPorts(), NewPorts()
	defer one.Release()
	defer two.Release()
	seen := map[int]bool{}
	for range 50 {
		for _, ports := range []*Ports{one, two} {
			port, err := ports.Take()
			if err != nil {
				t.Fatal(err)
			}
			if seen[port] {
				t.Fatalf("port %d handed out twice", port)
			}
			seen[port] = true
		}
	}
}

// TestWhatAProcessUses counts the processes that it started: a child with its own group, as each process of PostgreSQL
// has one, and a child whose parent has ended.
func TestWhatAProcessUses(t *testing.T) {
	dir := t.TempDir()
	p := supervise(t, Spec{
		Name: "parent", Path: "/bin/sh", Env: []string{"PATH=" + os.Getenv("PATH")},
		Args: []string{"-c", `cd "$0"; setsid sh -c 'echo $$ >own; exec sleep 600 >/dev/null 2>&1' & (sh -c 'echo $$ >orphan; exec sleep 600' &); exec sleep 600`, dir},
	})
	p.Start()
	await(t, p, "up", func(s Status) bool { return s.State == Ready })
	root := p.Status().PID
	deadline := time.Now().Add(waitLimit)
	var counted []int
	written := func(child string) bool {
		raw, _ := os.ReadFile(filepath.Join(dir, child))
		return bytes.HasSuffix(raw, []byte("\n"))
	}
	complete := func() bool { // the shell between them has ended
		if !written("own") || !written("orphan") {
			return false
		}
		counted = tree(root)
		return len(counted) == 3
	}
	for !complete() {
		if time.Now().After(deadline) {
			t.Fatalf("it counts %v of %d, and not its two children alone", counted, root)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, child := range []string{"own", "orphan"} {
		raw, _ := os.ReadFile(filepath.Join(dir, child))
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(raw))); !slices.Contains(counted, pid) {
			t.Errorf("%s (%d) is not counted: %v", child, pid, counted)
		}
	}
	raw, _ := os.ReadFile(filepath.Join(dir, "own"))
	own, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	t.Cleanup(func() { _ = syscall.Kill(own, syscall.SIGKILL) }) // it does not end with the parent's group
	if m, one := TreeMemory(root), processMemory(root); m.RSS <= one.RSS || m.PSS <= one.PSS || m.PSS > m.RSS {
		t.Errorf("all use %+v, and one of them %+v", m, one)
	}
}
