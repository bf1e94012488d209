package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// ownProbeTimeout is for one answer of the running instance. It is longer than the instance's own probes take.
const ownProbeTimeout = 3 * time.Second

// probeOwn sends /livez or /readyz to the running instance of this program at the same address. It is for containers
// without a shell: the exit code is 0 when the answer is 200, and 1 otherwise.
func probeOwn(ctx context.Context, name, endpoint string, app AppSettings, stderr io.Writer) int {
	if endpoint != "livez" && endpoint != "readyz" {
		return usage(stderr, name, fmt.Errorf("--probe takes livez or readyz, not %q", endpoint))
	}
	if app.Port == 0 {
		return usage(stderr, name, fmt.Errorf("app.port (APP_PORT): is required by --probe, to find the running program"))
	}
	ctx, cancel := context.WithTimeout(ctx, ownProbeTimeout)
	defer cancel()
	if err := getOK(ctx, "http://"+net.JoinHostPort(ownHost(app.Host), strconv.Itoa(app.Port))+"/"+endpoint); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitFailure
	}
	return 0
}

// ownHost returns the local address of a program that listens on host.
func ownHost(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "localhost"
	}
	return host
}

func getOK(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	// Without the proxy of the environment, because the program is on the same machine.
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", url, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 2048))
	return fmt.Errorf("%s answers %s: %s", url, response.Status, body)
}
