package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		given settings
		says  string
	}{
		"all":                {settings{port: 80, gateway: "http://127.0.0.1:8080", logs: "http://127.0.0.1:9428", dir: "/x"}, ""},
		"the least":          {settings{port: 80, gateway: "https://shop.example"}, ""},
		"no port":            {settings{gateway: "http://127.0.0.1:8080"}, "needs -port"},
		"a large port":       {settings{port: 65536, gateway: "http://127.0.0.1:8080"}, "needs -port"},
		"no gateway":         {settings{port: 80}, "-gateway is not"},
		"another scheme":     {settings{port: 80, gateway: "ftp://127.0.0.1"}, "-gateway is not"},
		"no host":            {settings{port: 80, gateway: "http://"}, "-gateway is not"},
		"a store of no URL":  {settings{port: 80, gateway: "http://127.0.0.1:8080", logs: "9428"}, "-logs is not"},
		"a broken store URL": {settings{port: 80, gateway: "http://127.0.0.1:8080", logs: "http://[::1"}, "-logs is not"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.given.check()
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("it says %v, want %q", err, test.says)
			}
		})
	}
}

// TestServerEnds: streams and jobs end with the server, and it waits for them.
func TestServerEnds(t *testing.T) {
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.server.serve(ctx, listener) }()
	f.url = "http://" + listener.Addr().String()
	f.signIn()
	response, err := f.browser.Do(f.request(http.MethodGet, "/board/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	jobEnded := make(chan struct{})
	f.server.jobs.start(func(ctx context.Context) {
		<-ctx.Done()
		close(jobEnded)
	})
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(stopTimeout + 5*time.Second):
		t.Fatal("it did not end")
	}
	select {
	case <-jobEnded:
	default:
		t.Error("it did not wait for a job")
	}
}

func TestLauncherThatDoesNotRun(t *testing.T) {
	control := &localControl{dir: t.TempDir()}
	_, report := control.Report(t.Context())
	for _, err := range []error{report, control.Kill(t.Context(), "orders", 9), control.Start(t.Context(), "orders")} {
		if err == nil || err.Error() != "the launcher does not answer" {
			t.Errorf("it says %v", err)
		}
	}
}
