package resolve

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	internals "github.com/dapr/dapr/pkg/proto/internals/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// waitLimit is how long a test waits for a condition.
const waitLimit = 2 * time.Minute

// directory is a DNS with one name.
type directory struct {
	addresses atomic.Pointer[[]string]
	looks     atomic.Int64 // how many questions it got
}

func (d *directory) set(addresses ...string) { d.addresses.Store(&addresses) }

func (d *directory) look(context.Context, string) ([]string, error) {
	d.looks.Add(1)
	if found := d.addresses.Load(); found != nil {
		return slices.Clone(*found), nil
	}
	return nil, errors.New("no such host")
}

// fake is the sidecar of a replica: it answers calls, or says why it cannot.
type fake struct {
	internals.UnimplementedServiceInvocationServer
	address string
	server  *grpc.Server
	fails   atomic.Pointer[error]
	hold    chan struct{} // held calls continue when it is closed
	calls   atomic.Int64
}

// CallLocal answers at once, except calls of the method "held".
func (f *fake) CallLocal(ctx context.Context, _ *internals.InternalInvokeRequest) (*internals.InternalInvokeResponse, error) {
	f.calls.Add(1)
	if failure := f.fails.Load(); failure != nil {
		return nil, *failure
	}
	if asked, _ := metadata.FromIncomingContext(ctx); len(asked.Get("held")) > 0 {
		<-f.hold
	}
	return &internals.InternalInvokeResponse{Headers: map[string]*internals.ListStringValue{"by": {Values: []string{f.address}}}}, nil
}

// serve starts the sidecar at a local address. All of 127.0.0.0/8 are.
func (f *fake) serve(t *testing.T, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(f.address, port))
	if err != nil {
		t.Fatal(err)
	}
	f.server, f.hold = grpc.NewServer(), make(chan struct{})
	internals.RegisterServiceInvocationServer(f.server, f)
	go func() { _ = f.server.Serve(listener) }() // ends with Stop
	t.Cleanup(f.server.Stop)
}

// stack is replicas behind one name, and a caller.
type stack struct {
	directory
	port   string
	fakes  []*fake
	caller internals.ServiceInvocationClient
}

func newStack(t *testing.T, addresses ...string) *stack {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err := errors.Join(err, free.Close()); err != nil {
		t.Fatal(err)
	}
	s := &stack{port: port}
	for _, address := range addresses {
		f := &fake{address: address}
		f.serve(t, port)
		s.fakes = append(s.fakes, f)
	}
	if len(addresses) > 0 {
		s.set(addresses...)
	}
	looking := &Directory{log: logger.NewLogger("test"), host: s.look}
	conn, err := grpc.DialContext(t.Context(), scheme+":///orders-daprd:"+port, //nolint:staticcheck // Dapr dials in this way
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(looking),
		grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"round_robin"}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.caller = internals.NewServiceInvocationClient(conn)
	return s
}

// call makes one call and returns who answered.
func (s *stack) call(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	response, err := s.caller.CallLocal(ctx, &internals.InternalInvokeRequest{})
	if err != nil {
		return "", err
	}
	return response.GetHeaders()["by"].GetValues()[0], nil
}

// until repeats calls until satisfied returns true.
func (s *stack) until(t *testing.T, what string, satisfied func(by string, err error) bool) {
	t.Helper()
	var by string
	var err error
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if by, err = s.call(t.Context()); satisfied(by, err) {
			return
		}
	}
	t.Fatalf("no call within %s: %s; the last was answered by %q, %v", waitLimit, what, by, err)
}

// all repeats calls until each of the addresses has answered.
func (s *stack) all(t *testing.T, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		s.until(t, "an answer of "+address, func(by string, _ error) bool { return by == address })
	}
}

// load calls from several goroutines until stop, which returns the number of calls and the errors.
func (s *stack) load(t *testing.T, callers int) (stop func() (int64, []error)) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	var calls atomic.Int64
	for range callers {
		group.Go(func() {
			for ctx.Err() == nil {
				calls.Add(1)
				if _, err := s.call(context.WithoutCancel(ctx)); err != nil {
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
				}
			}
		})
	}
	return func() (int64, []error) {
		cancel()
		group.Wait()
		return calls.Load(), failures
	}
}

// replace ends the second replica and starts it again when the first one has answered 50 calls. It waits until the
// second one answers.
func (s *stack) replace(t *testing.T, end func()) {
	t.Helper()
	end()
	before := s.fakes[0].calls.Load()
	eventually(t, "50 calls of the other replica", func() bool { return s.fakes[0].calls.Load() >= before+50 })
	s.fakes[1].serve(t, s.port)
	before = s.fakes[1].calls.Load()
	s.until(t, "an answer of the replica that came back", func(string, error) bool { return s.fakes[1].calls.Load() > before })
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, waitLimit)
		}
	}
}

func (s *stack) counts() (counts []int64) {
	for _, f := range s.fakes {
		counts = append(counts, f.calls.Load())
	}
	return counts
}
