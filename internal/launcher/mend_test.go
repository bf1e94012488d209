package launcher

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/internal/launcher/process"
)

// fakeCare is what looking after a broker finds, one look after another; then all is well.
type fakeCare struct {
	mu    sync.Mutex
	finds []finding
	looks int
}

type finding struct {
	broken []string
	err    error
}

func (f *fakeCare) mend(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if len(f.finds) == 0 {
		return nil, nil
	}
	found := f.finds[0]
	f.finds = f.finds[1:]
	return found.broken, found.err
}

func (f *fakeCare) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

func TestTheBrokerIsLookedAfterWhenItWasStartedAgain(t *testing.T) {
	leaderless := finding{broken: []string{"notifications-users"}}
	for name, c := range map[string]struct {
		finds    []finding
		looks    int
		restarts bool
		says     string
	}{
		"all is well":                  {nil, 1, false, ""},
		"one look mends":               {[]finding{leaderless}, 2, false, "queues without a leader after a crash, told to elect one: notifications-users"},
		"only a restart in order does": {[]finding{leaderless, leaderless, leaderless, leaderless, leaderless}, 6, true, "starting it again, in order"},
		"it cannot be looked after":    {[]finding{{err: errors.New("no tool")}, {err: errors.New("no tool")}}, 3, false, "could not be looked after: no tool"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said syncBuffer
			s, err := newStack(Options{Root: repository, Dir: t.TempDir(), FreePorts: true, Log: &said})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.prepareFolder(); err != nil {
				t.Fatal(err)
			}
			care := &fakeCare{finds: c.finds}
			s.broker.Mend = care.mend
			s.supervisor = process.NewSupervisor(t.TempDir(), nil, s.processChanged)
			s.mender = newMender(s)
			t.Cleanup(func() { s.Stop(context.Background()) })
			broker, err := s.add(process.Spec{Name: "broker", Path: "/bin/sleep", Args: []string{"600"}, Env: []string{"PATH=" + os.Getenv("PATH")}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			broker.Start()
			if err := broker.WaitReady(ctx, 0); err != nil {
				t.Fatal(err)
			}
			if care.looked() != 0 {
				t.Error("a broker that was just made was looked after")
			}
			first := broker.Status()
			if err := s.Kill("broker", syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for care.looked() < c.looks {
				if ctx.Err() != nil {
					t.Fatalf("it was looked after %d times, want %d\n%s", care.looked(), c.looks, said.String())
				}
				time.Sleep(20 * time.Millisecond)
			}
			if !strings.Contains(said.String(), c.says) {
				t.Errorf("people were told %q; want %q", said.String(), c.says)
			}
			if restarted := strings.Contains(said.String(), "again, in order"); restarted != c.restarts {
				t.Errorf("it was started again in order: %v", restarted)
			}
			if now := broker.Status(); now.PID == first.PID {
				t.Error("it still has its first life: the test killed nothing")
			}
		})
	}
}

// syncBuffer is a buffer that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
