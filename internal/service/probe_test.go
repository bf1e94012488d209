package service

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbeAsksTheRunningProgramAtItsOwnAddress(t *testing.T) {
	var asked string
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		if r.URL.Path == "/readyz" {
			http.Error(w, `{"status":"starting"}`, http.StatusServiceUnavailable)
		}
	}))
	defer running.Close()
	_, port, err := net.SplitHostPort(running.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args    []string
		code    int
		asked   string
		mention string
	}{
		"alive":                  {[]string{"--probe", "livez"}, 0, "/livez", ""},
		"alive, every interface": {[]string{"--probe=livez", "--app.host=0.0.0.0"}, 0, "/livez", ""},
		"unready":                {[]string{"--probe=readyz"}, exitFailure, "/readyz", `503 Service Unavailable: {"status":"starting"}`},
		"no such name":           {[]string{"--probe=health"}, exitUsage, "", "livez or readyz"},
		"no name":                {[]string{"--probe="}, exitUsage, "", "livez or readyz"},
		"no port":                {[]string{"--probe=livez", "--app.port=0"}, exitUsage, "", "APP_PORT"},
		"nobody there":           {[]string{"--probe=livez", "--app.port=1"}, exitFailure, "", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("APP_PORT", port)
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must not be used
			asked = ""
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), "users", test.args, &stdout, &stderr, buildOwn)
			if code != test.code || asked != test.asked || !strings.Contains(stderr.String(), test.mention) {
				t.Errorf("exit code %d, asked %q, said %q", code, asked, stderr.String())
			}
		})
	}
}

func TestVersionIsPrintedAndLogged(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), "users", []string{"--version", "--no.such.key=1"}, &stdout, &stderr, buildOwn); code != 0 {
		t.Fatalf("the exit code is %d: %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "users ") || !strings.Contains(stdout.String(), "revision ") {
		t.Errorf("it said %q", stdout.String())
	}
	stdout.Reset()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // it ends immediately
	run(ctx, "users", []string{"--app.token=x"}, &stdout, &stderr, buildOwn)
	first, _, _ := strings.Cut(stdout.String(), "\n")
	for _, want := range []string{`"msg":"starting"`, `"version":`, `"revision":`} {
		if !strings.Contains(first, want) {
			t.Errorf("%s is missing from the first line %q", want, first)
		}
	}
}

func TestTheSidecarsHostIsASetting(t *testing.T) {
	settings, _, err := load(t, "", []string{"CARAVAN_DAPR_HOST=users-daprd"})
	if err != nil || settings.Dapr.Host != "users-daprd" {
		t.Errorf("the host is %q (%v)", settings.Dapr.Host, err)
	}
	if settings, _, err = load(t, "", nil, "--dapr.host="); err == nil {
		t.Errorf("an empty host was accepted: %q", settings.Dapr.Host)
	}
}
