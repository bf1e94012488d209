package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	common "github.com/dapr/dapr/pkg/proto/common/v1"
	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"caravan/dapr/launcher"
	"caravan/test/chaos/intercept"
)

// fakeSidecar records its calls.
type fakeSidecar struct {
	runtime.UnimplementedDaprServer
	mu    sync.Mutex
	asked []string
	token string
	// answer is the answer of a called app.
	answer string
}

func (f *fakeSidecar) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
}

func (f *fakeSidecar) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeSidecar) SaveState(ctx context.Context, r *runtime.SaveStateRequest) (*emptypb.Empty, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.token = strings.Join(incoming.Get("dapr-api-token"), ",")
	f.mu.Unlock()
	for _, item := range r.GetStates() {
		if item.GetKey() == "order/conflict" {
			return nil, status.Error(codes.Aborted, "possible etag mismatch")
		}
		f.note("write " + item.GetKey())
	}
	return &emptypb.Empty{}, nil
}

func (f *fakeSidecar) GetState(_ context.Context, r *runtime.GetStateRequest) (*runtime.GetStateResponse, error) {
	f.note("read " + r.GetKey())
	return &runtime.GetStateResponse{Data: []byte(`{"stock":3}`), Etag: "7"}, nil
}

func (f *fakeSidecar) BulkPublishEvent(_ context.Context, r *runtime.BulkPublishRequest) (*runtime.BulkPublishResponse, error) {
	for _, entry := range r.GetEntries() {
		f.note("publish " + string(entry.GetEvent()))
	}
	return &runtime.BulkPublishResponse{}, nil
}

// GetMetadata is a call that no fault can match. It passes as a stream.
func (f *fakeSidecar) GetMetadata(context.Context, *runtime.GetMetadataRequest) (*runtime.GetMetadataResponse, error) {
	return &runtime.GetMetadataResponse{Id: "orders"}, nil
}

func (f *fakeSidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.note(r.Method + " " + r.URL.RequestURI() + " " + string(body))
	w.Header().Set("X-Correlation-Id", r.Header.Get("X-Correlation-Id"))
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, f.answer)
}

// world is a program's view of a sidecar through the proxies.
type world struct {
	sidecar     *fakeSidecar
	interceptor *intercept.Interceptor
	dapr        runtime.DaprClient
	base        string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{sidecar: &fakeSidecar{answer: `{"done":true}`}, interceptor: intercept.New()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtime.RegisterDaprServer(server, w.sidecar)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	api := httptest.NewServer(w.sidecar)
	t.Cleanup(api.Close)
	link, err := w.interceptor.Between(launcher.Link{
		App: "orders", Process: "orders-2", GRPCPort: listener.Addr().(*net.TCPAddr).Port, HTTPPort: api.Listener.Addr().(*net.TCPAddr).Port, AppPort: 7003,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.interceptor.Close)
	if link.AppPort != 7003 {
		t.Errorf("the program is said to be at %d", link.AppPort)
	}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", link.GRPCPort), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w.dapr, w.base = runtime.NewDaprClient(conn), fmt.Sprintf("http://127.0.0.1:%d", link.HTTPPort)
	return w
}

func (w *world) write(t *testing.T, keys ...string) error {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-api-token", "secret")
	request := &runtime.SaveStateRequest{StoreName: "store"}
	for _, key := range keys {
		request.States = append(request.States, &common.StateItem{Key: key, Value: []byte(`{"status":"placed"}`)})
	}
	_, err := w.dapr.SaveState(ctx, request)
	return err
}

func (w *world) invoke(t *testing.T, body string) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/v1.0/invoke/products/method/internal/reserve?a=b;c", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Correlation-Id", "c-1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return response, string(raw), err
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the sidecar was asked %q; want %q", got, want)
	}
}

func done(t *testing.T, f *intercept.Fault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Done(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestCallsPassAsTheyAre(t *testing.T) {
	w := newWorld(t)
	if err := w.write(t, "order/1", "order/2"); err != nil || w.sidecar.token != "secret" {
		t.Errorf("writing: %v with token %q", err, w.sidecar.token)
	}
	if err := w.write(t, "order/conflict"); status.Code(err) != codes.Aborted {
		t.Errorf("a conflict became %v", err)
	}
	state, err := w.dapr.GetState(t.Context(), &runtime.GetStateRequest{StoreName: "store", Key: "order/1"})
	if err != nil || state.GetEtag() != "7" || string(state.GetData()) != `{"stock":3}` {
		t.Errorf("reading: %v, %v", state, err)
	}
	if m, err := w.dapr.GetMetadata(t.Context(), &runtime.GetMetadataRequest{}); err != nil || m.GetId() != "orders" {
		t.Errorf("a call of another kind: %v, %v", m, err)
	}
	response, body, err := w.invoke(t, "{}")
	if err != nil || response.StatusCode != http.StatusAccepted || body != `{"done":true}` || response.Header.Get("X-Correlation-Id") != "c-1" {
		t.Errorf("invoking: %v, %q, %v", response, body, err)
	}
	expect(t, w.sidecar.got(), "write order/1", "write order/2", "read order/1", "POST /v1.0/invoke/products/method/internal/reserve?a=b;c {}")
}

func TestASidecarThatIsAwayAnswersNothing(t *testing.T) {
	i := intercept.New()
	defer i.Close()
	link, err := i.Between(launcher.Link{App: "orders", Process: "orders", HTTPPort: 1, GRPCPort: 1})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v1.0/healthz", link.HTTPPort)); err == nil {
		t.Errorf("it answers %s", response.Status)
	}
}

func TestCrashes(t *testing.T) {
	for name, c := range map[string]struct {
		action func(intercept.Kill) intercept.Action
		want   []string
	}{
		"before the effect": {intercept.CrashBefore, nil},
		"after the effect":  {intercept.CrashAfter, []string{"write order/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			killed := ""
			fault := w.interceptor.Inject(intercept.Writing("orders", "order/1"), c.action(func(process string) error {
				killed = process
				return nil
			}))
			if err := w.write(t, "order/2"); err != nil {
				t.Errorf("a call that nobody minds: %v", err)
			}
			if err := w.write(t, "order/1"); status.Code(err) != codes.Unavailable {
				t.Errorf("the program was told %v", err)
			}
			done(t, fault)
			if killed != "orders-2" {
				t.Errorf("%q was killed", killed)
			}
			expect(t, w.sidecar.got()[1:], c.want...)
			if err := w.write(t, "order/1"); err != nil {
				t.Errorf("the fault struck twice: %v", err)
			}
		})
	}
}

func TestAnswersAreLostAndCallsRefused(t *testing.T) {
	w := newWorld(t)
	reserve := intercept.Invoking("orders", "products", "/internal/reserve", `"o1"`)
	w.interceptor.Inject(reserve, intercept.Lose())
	w.interceptor.Inject(reserve, intercept.Cut())
	w.interceptor.Inject(reserve, intercept.Fail(codes.Unavailable))
	for range 2 {
		if response, _, err := w.invoke(t, `"o1"`); err == nil {
			t.Errorf("a broken connection answers %s", response.Status)
		}
	}
	response, body, err := w.invoke(t, `"o1"`)
	if err != nil || response.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "ERR_DIRECT_INVOKE") {
		t.Errorf("a refusal is %v, %q, %v", response, body, err)
	}
	if len(w.sidecar.got()) != 1 {
		t.Errorf("the sidecar got %q; want the one whose answer was lost", w.sidecar.got())
	}
}

func TestARefusalLastsUntilItIsLifted(t *testing.T) {
	w := newWorld(t)
	fault := w.interceptor.Inject(intercept.Using("orders", "order/1"), intercept.Fail(codes.Internal), intercept.Always())
	for range 3 {
		if err := w.write(t, "order/1"); status.Code(err) != codes.Internal {
			t.Errorf("told %v", err)
		}
	}
	fault.Lift()
	if err := w.write(t, "order/1"); err != nil {
		t.Errorf("after the end: %v", err)
	}
	if n := len(fault.Struck()); n != 3 {
		t.Errorf("struck %d calls", n)
	}
}

func TestTheSecondCallIsStruck(t *testing.T) {
	w := newWorld(t)
	w.interceptor.Inject(intercept.Writing("orders", "order/1"), intercept.Fail(codes.Aborted), intercept.From(2), intercept.Times(2))
	var told []codes.Code
	for range 4 {
		told = append(told, status.Code(w.write(t, "order/1")))
	}
	if !slices.Equal(told, []codes.Code{codes.OK, codes.Aborted, codes.Aborted, codes.OK}) {
		t.Errorf("told %v", told)
	}
}

func TestALateArrival(t *testing.T) {
	w := newWorld(t)
	fault := w.interceptor.Inject(intercept.Writing("orders", "order/1"), intercept.Detain())
	if err := w.write(t, "order/1"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("told %v", err)
	}
	if err := w.write(t, "order/2"); err != nil {
		t.Error(err)
	}
	expect(t, w.sidecar.got(), "write order/2")
	fault.Release()
	done(t, fault)
	expect(t, w.sidecar.got(), "write order/2", "write order/1")
	if replies := fault.Replies(); len(replies) != 1 || !replies[0].OK() {
		t.Errorf("the sidecar answered %v", replies)
	}
}

// TestAHeldCallArrivesAlthoughItsCallerHasGone shows how a late write happens.
func TestAHeldCallArrivesAlthoughItsCallerHasGone(t *testing.T) {
	w := newWorld(t)
	fault := w.interceptor.Inject(intercept.Writing("orders", "order/1"), intercept.Hold())
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		if err := fault.Await(t.Context()); err == nil {
			leave()
		}
	}()
	_, err := w.dapr.SaveState(ctx, &runtime.SaveStateRequest{States: []*common.StateItem{{Key: "order/1"}}})
	if status.Code(err) != codes.Canceled {
		t.Fatalf("told %v", err)
	}
	fault.Release()
	done(t, fault)
	expect(t, w.sidecar.got(), "write order/1")
}

func TestRepetitions(t *testing.T) {
	w := newWorld(t)
	reserve := intercept.Invoking("orders", "products", "/internal/reserve")
	once := w.interceptor.Inject(reserve, intercept.Repeat(3))
	atOnce := w.interceptor.Inject(reserve, intercept.Multiply(4))
	for range 2 {
		if response, body, err := w.invoke(t, "x"); err != nil || response.StatusCode != http.StatusAccepted || body != `{"done":true}` {
			t.Errorf("%v, %q, %v", response, body, err)
		}
	}
	done(t, once)
	done(t, atOnce)
	if n := len(w.sidecar.got()); n != 7 {
		t.Errorf("the sidecar got %d calls", n)
	}
	if n := len(atOnce.Replies()); n != 4 {
		t.Errorf("%d replies", n)
	}
}

func TestAnEventIsStruckWithoutItsCompany(t *testing.T) {
	w := newWorld(t)
	fault := w.interceptor.Inject(intercept.Publishing("orders", "orders", "o2"), intercept.Detain())
	var request runtime.BulkPublishRequest
	request.Topic = "orders"
	for _, order := range []string{"o1", "o2", "o3"} {
		request.Entries = append(request.Entries, &runtime.BulkPublishRequestEntry{EntryId: order, Event: []byte(order)})
	}
	if _, err := w.dapr.BulkPublishEvent(t.Context(), &request); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("told %v", err)
	}
	expect(t, w.sidecar.got(), "publish o1", "publish o3")
	fault.Release()
	done(t, fault)
	expect(t, w.sidecar.got(), "publish o1", "publish o3", "publish o2")
}

// TestDocumentsOfOneWriteAreStruckApart shows the same for documents, each with its own fault.
func TestDocumentsOfOneWriteAreStruckApart(t *testing.T) {
	w := newWorld(t)
	first := w.interceptor.Inject(intercept.Writing("orders", "order/1"), intercept.Detain())
	second := w.interceptor.Inject(intercept.Writing("orders", "order/2"), intercept.Repeat(2))
	if err := w.write(t, "order/1", "order/2", "order/3", "order/4"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("told %v", err)
	}
	done(t, second)
	got := w.sidecar.got()
	slices.Sort(got)
	expect(t, got, "write order/2", "write order/2", "write order/3", "write order/4")
	first.Release()
	done(t, first)
	if got := w.sidecar.got(); len(got) != 5 || got[4] != "write order/1" {
		t.Errorf("the sidecar was asked %q", got)
	}
}

func TestAFaultThatStruckNothingSaysSo(t *testing.T) {
	w := newWorld(t)
	fault := w.interceptor.Inject(intercept.Reading("orders", "order/1"), intercept.Fail(codes.Unavailable))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := fault.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestACommandIsStruckWithoutItsCompany shows the same for several commands in one call.
func TestACommandIsStruckWithoutItsCompany(t *testing.T) {
	w := newWorld(t)
	w.sidecar.answer = `{"results":[{"result":1},{"result":3}]}`
	fault := w.interceptor.Inject(intercept.Invoking("orders", "products", "/internal/reserve", `"o2"`), intercept.Fail(codes.Unavailable))
	response, body, err := w.invoke(t, `{"commands":["o1","o2","o3"]}`)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, body, err)
	}
	if want := `{"results":[{"result":1},{"error":{"status":503,"slug":"service-unavailable","detail":"injected fault"}},{"result":3}]}`; body != want {
		t.Errorf("answered %s", body)
	}
	done(t, fault)
	if got := w.sidecar.got(); len(got) != 1 || !strings.HasSuffix(got[0], `{"commands":["o1","o3"]}`) {
		t.Errorf("the sidecar was asked %q", got)
	}
}
