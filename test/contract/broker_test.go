package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
)

// TestBrokers tests, with every broker, what the services rely on. It uses the repository's own component set,
// subscriptions and retries, between two real sidecars: one publishes and one consumes.
func TestBrokers(t *testing.T) {
	for _, kind := range infra.Brokers() {
		if kind == infra.Auto {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			b := connect(t, kind)
			t.Run("every event arrives", b.everyEventArrives)
			t.Run("order", b.order)
			t.Run("a failed delivery is tried again", b.retries)
			t.Run("a refused event is dead-lettered", b.refused)
			t.Run("an event that always fails is dead-lettered", b.exhausted)
			t.Run("what is no event is dead-lettered", b.poison)
			t.Run("nothing to do is no work", b.rests)
			t.Run("events wait for their consumer", b.consumerDown)
			t.Run("events outlive the broker", b.brokerKilled)
			t.Run("subscriptions come back whole", b.renewed)
			t.Run("a delivery outlives its sidecar", b.sidecarKilled)
		})
	}
}

// consumerApp is the app whose subscriptions are tested; publisherApp publishes.
const (
	consumerApp  = "notifications"
	publisherApp = "orders"
	deadPath     = "/events/dead"
)

// quick are settings that are changed for the tests. With the repository's own settings they would wait a minute.
var quick = map[string]map[string]string{
	"redis-streams": {"processingTimeout": "20s", "redeliverInterval": "1000"},
}

// broker is a running broker with a publisher and a consumer.
type broker struct {
	kind                        string
	server, publisher, consumer part
	address, token              string // of the publisher's sidecar
	app                         *fakeConsumer
}

// connect starts a broker of that kind and both sidecars, for this test only.
func connect(t *testing.T, kind string) *broker {
	t.Helper()
	if inCompose {
		return connectCompose(t, kind)
	}
	daprd := sidecarProgram(t)
	dir, ports := t.TempDir(), process.NewPorts()
	t.Cleanup(ports.Release)
	server, err := infra.Broker(kind, infra.Place{
		Dir: dir, Port: ports.Take, Getenv: os.Getenv, Topics: []string{"users", "orders", "payments", "products", "notifications.dead"},
		Program: func(name string) string { return build(t, dir, "./dapr/launcher/"+name) },
	})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if server.Prepare != nil {
		if err := server.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	supervisor := process.NewSupervisor(dir, nil, nil)
	t.Cleanup(supervisor.Close)
	s := &stack{}
	for _, spec := range server.Processes {
		s.start(ctx, t, supervisor, spec)
	}
	b := &broker{kind: kind, app: listen(t)}
	if len(s.processes) > 0 { // none when the broker runs elsewhere
		b.server = s.processes[len(s.processes)-1]
	}
	_, appPort, _ := net.SplitHostPort(b.app.server.Listener.Addr().String())
	for _, app := range []string{consumerApp, publisherApp} {
		httpPort := take(t, ports)
		args := []string{
			"--app-id", app, "--mode", "standalone", "--dapr-listen-addresses", "127.0.0.1",
			"--dapr-http-port", strconv.Itoa(httpPort), "--dapr-grpc-port", strconv.Itoa(take(t, ports)),
			"--dapr-internal-grpc-port", strconv.Itoa(take(t, ports)), "--metrics-port", strconv.Itoa(take(t, ports)),
			"--resources-path", brokerResources(t, dir, app, server), "--placement-host-address", "", "--scheduler-host-address", "",
		}
		if app == consumerApp {
			args = append(args, "--app-port", appPort, "--app-channel-address", "127.0.0.1")
		}
		s.start(ctx, t, supervisor, process.Spec{
			Name: app + "-daprd", Path: daprd, Dir: dir, Args: args, Ready: healthy(httpPort),
			Env: []string{"DAPR_HOST_IP=127.0.0.1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		})
		if app == publisherApp {
			b.address = fmt.Sprintf("http://127.0.0.1:%d/v1.0/publish/pubsub/", httpPort)
		}
	}
	b.publisher, b.consumer = s.processes[len(s.processes)-1], s.processes[len(s.processes)-2]
	return b
}

// build builds a program of the repository.
func build(t *testing.T, dir, pkg string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(pkg))
	command := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, output)
	}
	return path
}

// brokerResources writes the resources of an app as the launcher does: the broker's component set, the subscriptions
// and the retries.
func brokerResources(t *testing.T, dir, app string, server infra.Server) string {
	t.Helper()
	documents, err := manifest.ReadSet(filepath.Join(root, "components", server.Set), app)
	if err != nil {
		t.Fatal(err)
	}
	settings := maps.Clone(server.Settings(app))
	maps.Copy(settings, quick[server.Kind])
	for _, d := range documents {
		for name, value := range settings {
			d.Component.Set(name, value)
		}
	}
	more, err := manifest.ReadFolder(filepath.Join(root, "dapr", "resources"))
	if err != nil {
		t.Fatal(err)
	}
	documents = slices.DeleteFunc(append(documents, more...), func(d manifest.Document) bool { return !d.For(app) })
	folder := filepath.Join(dir, "resources-"+app)
	if err := manifest.Write(folder, documents); err != nil {
		t.Fatal(err)
	}
	return folder
}

func healthy(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/v1.0/healthz", port), nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			return errors.New(response.Status)
		}
		return nil
	}
}

// delivery is one call of the consumer.
type delivery struct {
	path, id, subject string
	number            int64
	body              []byte
}

// fakeConsumer is an app that gets events and gives the answers of the test.
type fakeConsumer struct {
	server *httptest.Server

	mu     sync.Mutex
	heard  []delivery
	answer func(d delivery, attempt int) (status int, body string) // nil: success
	held   chan struct{}                                           // deliveries wait for it, unless nil
}

func listen(t *testing.T) *fakeConsumer {
	f := &fakeConsumer{}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	t.Cleanup(func() { f.set(nil, nil) })
	return f
}

// set changes how deliveries are answered from now on.
func (f *fakeConsumer) set(answer func(delivery, int) (int, string), held chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.held = answer, held
}

// ServeHTTP gets an event.
func (f *fakeConsumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/events/") {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var envelope struct {
		ID, Subject string
		Sequence    int64
	}
	_ = json.Unmarshal(body, &envelope) // a dead letter may have any content
	d := delivery{path: r.URL.Path, id: envelope.ID, subject: envelope.Subject, number: envelope.Sequence, body: body}
	f.mu.Lock()
	f.heard = append(f.heard, d)
	attempt := 0
	for _, earlier := range f.heard {
		if earlier.id == d.id && earlier.path == d.path {
			attempt++
		}
	}
	answer, held := f.answer, f.held
	f.mu.Unlock()
	if held != nil && d.subject == inHand {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	if answer != nil && d.path != deadPath {
		status, text := answer(d, attempt)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// of returns the deliveries of one event on a path, in order.
func (f *fakeConsumer) of(path string, match func(delivery) bool) []delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []delivery
	for _, d := range f.heard {
		if d.path == path && match(d) {
			found = append(found, d)
		}
	}
	return found
}

func (f *fakeConsumer) attempts(id string) int {
	return len(f.of("/events/orders", func(d delivery) bool { return d.id == id }))
}

// put counts the dead letters that contain a text. A dead letter contains the original message.
func (f *fakeConsumer) put(text string) int {
	return len(f.of(deadPath, func(d delivery) bool { return holds(d.body, text) }))
}

// holds looks for a text in a dead letter, also where it is encoded.
func holds(letter []byte, text string) bool {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Base64 []byte          `json:"data_base64"`
	}
	_ = json.Unmarshal(letter, &envelope)
	return bytes.Contains(letter, []byte(text)) || bytes.Contains(envelope.Base64, []byte(text))
}

// publish publishes an event about a subject. The test fails if it is not accepted.
func (b *broker) publish(t *testing.T, subject string, number int) string {
	t.Helper()
	id := fmt.Sprintf("%s/%d", subject, number)
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"orders","type":"orders.placed.v1","subject":%q,"sequence":%d,"datacontenttype":"application/json","data":{"orderId":%q}}`,
		id, subject, number, subject)
	b.post(t, "orders?metadata.partitionKey="+url.QueryEscape(subject), "application/cloudevents+json", body)
	return id
}

func (b *broker) post(t *testing.T, path, kind, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.address+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", kind)
		request.Header.Set("dapr-api-token", b.token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			text, _ := io.ReadAll(response.Body)
			return fmt.Errorf("publishing answers %s: %s", response.Status, text)
		}
		return nil
	})
}

// heard waits until every event was delivered.
func (b *broker) heard(t *testing.T, ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return b.app.attempts(id) > 0 })
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d events are missing, as %s", len(missing), len(ids), missing[0])
		}
		return nil
	})
}

func (b *broker) everyEventArrives(t *testing.T) {
	var ids []string
	for i := range 200 {
		ids = append(ids, b.publish(t, fmt.Sprintf("arrive-%d", i%7), i))
	}
	b.heard(t, ids)
	for _, id := range ids {
		if n := b.app.attempts(id); n != 1 {
			t.Logf("%s was delivered %d times", id, n)
		}
	}
}

// order shows which brokers keep the events of one aggregate in order. No handler relies on it. With a broker that
// keeps the order there are fewer waits.
func (b *broker) order(t *testing.T) {
	var ids []string
	for i := range 100 {
		ids = append(ids, b.publish(t, "ordered", i))
	}
	b.heard(t, ids)
	var got []int64
	for _, d := range b.app.of("/events/orders", func(d delivery) bool { return d.subject == "ordered" }) {
		got = append(got, d.number)
	}
	kept := slices.IsSorted(got)
	t.Logf("order kept: %t", kept)
	if b.kind == "kafka" && !kept {
		t.Errorf("the events of one partition came as %v", got)
	}
}

func (b *broker) retries(t *testing.T) {
	b.app.set(func(_ delivery, attempt int) (int, string) {
		if attempt < 3 {
			return http.StatusInternalServerError, "{}"
		}
		return http.StatusOK, `{"status":"SUCCESS"}`
	}, nil)
	defer b.app.set(nil, nil)
	id := b.publish(t, "failing", 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		if n := b.app.attempts(id); n < 3 {
			return fmt.Errorf("%d attempts", n)
		}
		return nil
	})
	// Later events are delivered too: none is blocked.
	b.heard(t, []string{b.publish(t, "behind", 1)})
	if n := b.app.put(id); n > 0 {
		t.Errorf("it was dead-lettered although its third attempt succeeded")
	}
}

func (b *broker) refused(t *testing.T) {
	b.app.set(func(delivery, int) (int, string) { return http.StatusOK, `{"status":"DROP"}` }, nil)
	defer b.app.set(nil, nil)
	id := b.publish(t, "refused", 1)
	b.awaitDeadLetter(t, id)
	if n := b.app.attempts(id); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
}

func (b *broker) exhausted(t *testing.T) {
	b.app.set(func(delivery, int) (int, string) { return http.StatusServiceUnavailable, "{}" }, nil)
	defer b.app.set(nil, nil)
	id := b.publish(t, "hopeless", 1)
	b.awaitDeadLetter(t, id)
	if n := b.app.attempts(id); n < 7 {
		t.Errorf("it was dead-lettered after %d attempts; resiliency.yaml says one and six more", n)
	}
}

func (b *broker) poison(t *testing.T) {
	const nonsense = "no event, but poison"
	b.post(t, "orders?metadata.rawPayload=true", "text/plain", nonsense)
	b.awaitDeadLetter(t, nonsense)
	b.heard(t, []string{b.publish(t, "after the poison", 1)})
}

// awaitDeadLetter waits until a dead letter contains a text.
func (b *broker) awaitDeadLetter(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		if b.app.put(text) == 0 {
			return fmt.Errorf("%q is not among the dead letters", text)
		}
		return nil
	})
}

// rests measures the processor time of an idle broker and its consumer, and of the consumer while the broker is down.
// Neither polls without a pause.
func (b *broker) rests(t *testing.T) {
	if b.server == nil {
		t.Skip("the broker runs elsewhere")
	}
	const most = 0.4 // of one processor; a loop without a pause takes all of it
	if share := busy(t, b.server, b.consumer); share > most {
		t.Errorf("idle, broker and consumer take %.2f of a processor", share)
	} else {
		t.Logf("idle, broker and consumer take %.2f of a processor", share)
	}
	b.server.Stop(t.Context())
	if share := busy(t, b.consumer); share > most {
		t.Errorf("without a broker the consumer takes %.2f of a processor", share)
	} else {
		t.Logf("without a broker the consumer takes %.2f of a processor", share)
	}
	b.start(t, b.server)
	b.heard(t, []string{b.publish(t, "after the rest", 1)})
}

// busy returns the share of one processor that processes use, over some seconds.
func busy(t *testing.T, processes ...part) float64 {
	t.Helper()
	all := func() (sum time.Duration) {
		for _, p := range processes {
			sum += used(p)
		}
		return sum
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	began, before := time.Now(), all()
	if before == 0 { // every process that has started has used some
		t.Error("the processor time is not known")
	}
	<-ctx.Done()
	return float64(all()-before) / float64(time.Since(began))
}

func (b *broker) consumerDown(t *testing.T) {
	b.consumer.Stop(t.Context())
	var ids []string
	for i := range 60 {
		ids = append(ids, b.publish(t, "while away", i))
	}
	b.start(t, b.consumer)
	b.heard(t, ids)
}

// brokerKilled shows that events that the broker has accepted and not yet delivered survive a crash.
func (b *broker) brokerKilled(t *testing.T) {
	if b.server == nil {
		t.Skip("the broker runs elsewhere")
	}
	b.consumer.Stop(t.Context())
	var ids []string
	for i := range 100 {
		ids = append(ids, b.publish(t, "before the crash", i))
	}
	b.crash(t, b.server)
	b.start(t, b.server)
	b.start(t, b.consumer)
	b.heard(t, append(ids, b.publish(t, "after the crash", 1)))
}

// renewed shows that after each crash of the broker all subscriptions work completely. A consumer that is registered at
// the broker but has no receiver would keep every second message of its queue, here of the events or of the dead
// letters.
func (b *broker) renewed(t *testing.T) {
	if b.server == nil {
		t.Skip("the broker runs elsewhere")
	}
	b.app.set(func(d delivery, _ int) (int, string) {
		if strings.HasPrefix(d.subject, "renewed") {
			return http.StatusOK, `{"status":"DROP"}`
		}
		return http.StatusOK, `{"status":"SUCCESS"}`
	}, nil)
	defer b.app.set(nil, nil)
	const rounds, events = 3, 12
	for round := range rounds {
		b.crash(t, b.server)
		b.start(t, b.server)
		var ids []string
		for i := range events {
			ids = append(ids, b.publish(t, fmt.Sprintf("renewed-%d", round), i))
		}
		b.heard(t, ids)
		for _, id := range ids {
			b.awaitDeadLetter(t, id)
		}
	}
}

// inHand is the subject whose deliveries can be held. Others continue: a broker that was killed may first deliver
// earlier events again.
const inHand = "in hand"

// sidecarKilled shows that a delivery without an answer is repeated.
func (b *broker) sidecarKilled(t *testing.T) {
	held := make(chan struct{})
	b.app.set(nil, held)
	id := b.publish(t, inHand, 1)
	b.heard(t, []string{id})
	b.crash(t, b.consumer)
	close(held)
	b.app.set(nil, nil)
	first := b.app.attempts(id)
	b.start(t, b.consumer)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	eventually(ctx, t, func() error {
		if b.app.attempts(id) == first {
			return errors.New("it was not delivered again")
		}
		return nil
	})
}

// crash kills a process and keeps it down.
func (b *broker) crash(t *testing.T, p part) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c, ok := p.(*container); ok {
		if err := c.project.Crash(ctx, c.name); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Stop(ctx)
}

func (b *broker) start(t *testing.T, p part) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p.Start()
	if err := p.WaitReady(ctx, 5); err != nil {
		t.Fatal(err)
	}
}
