package resolve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dapr/dapr/pkg/messages"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// shared is the Directory of this process. Tests make others, too.
var shared *Directory

func TestMain(m *testing.M) {
	shared = Register(logger.NewLogger("test"), true)
	os.Exit(m.Run())
}

func TestCallsTakeTurns(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	s.all(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	before := s.counts()
	for range 300 {
		if _, err := s.call(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, after := range s.counts() {
		if after-before[i] != 100 {
			t.Errorf("%s got %d of 300 calls, want 100", s.fakes[i].address, after-before[i])
		}
	}
}

func TestReplicaThatSaysGoodbyeLosesNoCall(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")
	stop := s.load(t, 8)
	for range 5 { // the name still gives the address
		s.replace(t, s.fakes[1].server.GracefulStop)
	}
	calls, failures := stop()
	if len(failures) > 0 {
		t.Errorf("%d of %d calls failed, the first with %v", len(failures), calls, failures[0])
	}
}

func TestReplicaThatDiesCostsTheCallsInFlight(t *testing.T) {
	const callers = 8
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")
	stop := s.load(t, callers)
	const deaths = 5
	for range deaths {
		s.replace(t, s.fakes[1].server.Stop)
	}
	calls, failures := stop()
	if len(failures) > deaths*callers {
		t.Errorf("%d of %d calls failed, more than were in flight in %d deaths: %v", len(failures), calls, deaths, failures[0])
	}
	for _, err := range failures {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("a call failed with %v, want Unavailable", err)
		}
	}
}

func TestReplicaWithoutProgramIsAvoided(t *testing.T) {
	for name, failure := range map[string]error{
		"no channel": status.Error(codes.Internal, messages.ErrChannelNotFound),
		"refused":    status.Errorf(codes.Internal, messages.ErrChannelInvoke, "dial tcp 172.18.0.4:7003: connect: connection refused"),
		"unhealthy":  status.Errorf(codes.Internal, messages.ErrChannelInvoke, messages.ErrAppUnhealthy),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, "127.0.0.1", "127.0.0.2")
			s.all(t, "127.0.0.1", "127.0.0.2")
			s.fakes[1].fails.Store(&failure)
			began, failed, calls := time.Now(), 0, 0
			for ; time.Since(began) < 2*avoided+avoided/2 || calls < 100; calls++ {
				if _, err := s.call(t.Context()); err != nil {
					failed++
				}
				time.Sleep(time.Millisecond)
			}
			// One call fails first. After that, one call fails each time that the replica is tried again.
			if most := 1 + int(time.Since(began)/avoided); failed < 1 || failed > most {
				t.Errorf("%d of %d calls failed, want 1 to %d", failed, calls, most)
			}
			s.fakes[1].fails.Store(nil)
			s.all(t, "127.0.0.2")
		})
	}
}

// A program that stops answers the calls that it has, and refuses new ones.
func TestAnAnswerOfBeforeIsNoReasonToComeBack(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")
	const many = 20
	held := make(chan error, many)
	for range many { // each gets half of them
		go func() {
			_, err := s.call(metadata.AppendToOutgoingContext(t.Context(), "held", "yes"))
			held <- err
		}()
	}
	before := s.counts()
	eventually(t, "the calls that are to be held", func() bool { return s.fakes[1].calls.Load() >= before[1]+many/2 })
	failure := status.Errorf(codes.Internal, messages.ErrChannelInvoke, "dial tcp 172.18.0.4:7003: connect: connection refused")
	s.fakes[1].fails.Store(&failure)
	s.until(t, "a failure", func(_ string, err error) bool { return err != nil })
	began, refused := time.Now(), s.fakes[1].calls.Load()
	for _, f := range s.fakes {
		close(f.hold)
	}
	for range many {
		if err := <-held; err != nil {
			t.Error(err)
		}
		for range 4 {
			_, _ = s.call(t.Context())
		}
	}
	if n, most := s.fakes[1].calls.Load()-refused, 1+int64(time.Since(began)/avoided); n > most {
		t.Errorf("%d calls came to a replica that refuses them, want %d at most", n, most)
	}
}

func TestAnswersOfAProgramAreNoReasonToAvoidIt(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")
	for _, refusal := range []error{
		status.Error(codes.PermissionDenied, "denied by the access policy"),
		status.Error(codes.InvalidArgument, "no method"),
		status.Error(codes.Internal, "the program said so"),
		status.Error(codes.DeadlineExceeded, "late"),
	} {
		for _, f := range s.fakes {
			f.fails.Store(&refusal)
		}
		before := s.counts()
		for range 20 {
			_, _ = s.call(t.Context()) // both fail
		}
		for i, after := range s.counts() {
			if after-before[i] != 10 {
				t.Errorf("after %v, %s got %d of 20 calls", refusal, s.fakes[i].address, after-before[i])
			}
		}
	}
}

func TestAllReplicasWithoutProgramAreStillCalled(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")
	failure := status.Error(codes.Internal, messages.ErrChannelNotFound)
	for _, f := range s.fakes {
		f.fails.Store(&failure)
	}
	before := s.counts()
	for range 20 {
		if _, err := s.call(t.Context()); err == nil {
			t.Fatal("a call succeeded")
		}
	}
	if after := s.counts(); after[0]+after[1]-before[0]-before[1] != 20 {
		t.Errorf("of 20 calls %d came to a replica", after[0]+after[1]-before[0]-before[1])
	}
	s.fakes[0].fails.Store(nil)
	s.fakes[1].fails.Store(nil)
	s.until(t, "success", func(_ string, err error) bool { return err == nil })
}

func TestNamesGiveAndTakeAddresses(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	s.set("127.0.0.1")
	s.all(t, "127.0.0.1")

	s.set("127.0.0.2", "127.0.0.1", "127.0.0.2")
	s.all(t, "127.0.0.1", "127.0.0.2")

	// The address of a held call disappears from the name. The call may finish.
	held := make(chan error, 2)
	for range 2 { // each gets one
		go func() {
			_, err := s.call(metadata.AppendToOutgoingContext(t.Context(), "held", "yes"))
			held <- err
		}()
	}
	before := s.counts()
	eventually(t, "the calls that are to be held", func() bool {
		after := s.counts()
		return after[0] > before[0] && after[1] > before[1]
	})
	s.set("127.0.0.1")
	inARow := 0
	s.until(t, "ten in a row by the one that is left", func(by string, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		if inARow++; by != "127.0.0.1" {
			inARow = 0
		}
		return inARow == 10
	})
	for _, f := range s.fakes {
		close(f.hold)
	}
	for range 2 {
		if err := <-held; err != nil {
			t.Errorf("a call to a replica whose address went away: %v", err)
		}
	}

	// When the name is not found, nothing changes.
	s.addresses.Store(nil)
	asked := s.looks.Load()
	s.until(t, "two more lookups", func(_ string, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		return s.looks.Load() >= asked+2 // the first look has had its effect when the second begins
	})
	if _, err := s.call(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNobodyThereFailsAtOnce(t *testing.T) {
	s := newStack(t, "127.0.0.1")
	s.all(t, "127.0.0.1")
	s.fakes[0].server.Stop()
	s.until(t, "a failure", func(_ string, err error) bool { return err != nil })
	began := time.Now()
	const calls = 20
	for range calls {
		_, err := s.call(t.Context())
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), messageUndialled) || !strings.Contains(err.Error(), "connection refused") {
			t.Fatalf("got %v, want Unavailable and why", err)
		}
	}
	if took := time.Since(began); took > waitLimit/2 {
		t.Errorf("%d calls to nobody took %s", calls, took)
	}
	s.fakes[0].serve(t, s.port)
	s.all(t, "127.0.0.1")
}

func TestUnknownNameFailsAtOnceAndIsFoundLater(t *testing.T) {
	s := newStack(t)
	if _, err := s.call(t.Context()); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no such host") {
		t.Fatalf("got %v, want Unavailable and why", err)
	}
	f := &fake{address: "127.0.0.1"}
	f.serve(t, s.port)
	s.set("127.0.0.1")
	s.all(t, "127.0.0.1")
}

func TestSeveralHosts(t *testing.T) {
	names := map[string][]string{"a": {"127.0.0.2"}, "b": nil, "c": {"127.0.0.1", "127.0.0.2"}}
	seen := make(chan resolver.State, 1)
	w, err := (&Directory{log: logger.NewLogger("test"), host: func(_ context.Context, host string) ([]string, error) {
		if names[host] == nil {
			return nil, errors.New("no such host")
		}
		return names[host], nil
	}}).Build(target(t, scheme+":///a,b,c:50002"), seeing{seen: seen}, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	state := <-seen
	if len(state.Addresses) != 2 || state.Addresses[0].Addr != "127.0.0.1:50002" || state.Addresses[1].Addr != "127.0.0.2:50002" {
		t.Errorf("the addresses are %v", state.Addresses)
	}
}

// seeing is a connection that records what it is told.
type seeing struct {
	resolver.ClientConn
	seen chan<- resolver.State
}

func (s seeing) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }
func (s seeing) UpdateState(state resolver.State) error               { s.seen <- state; return nil }

func TestWatchEndsWithItsConnection(t *testing.T) {
	looked := make(chan struct{}, 1)
	w, err := (&Directory{log: logger.NewLogger("test"), host: func(ctx context.Context, host string) ([]string, error) {
		looked <- struct{}{}
		<-ctx.Done() // a DNS that does not answer
		return nil, fmt.Errorf("looking up %s: %w", host, ctx.Err())
	}}).Build(target(t, scheme+":///orders:1"), nil, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	<-looked
	w.Close() // returns, and so the goroutine has ended
}
