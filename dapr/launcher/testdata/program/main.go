// Command program is a minimal app for the launcher's tests. It is ready when its sidecar is, answers /internal/echo,
// and remembers the events it receives.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type program struct {
	log    *slog.Logger
	mu     sync.Mutex
	events []string
}

func main() {
	p := &program{log: slog.New(slog.NewJSONHandler(os.Stdout, nil))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("POST /internal/echo", p.echo)
	mux.HandleFunc("POST /events/{topic}", p.event)
	mux.HandleFunc("GET /events", p.list)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // app protocol h2c
	server := &http.Server{Protocols: protocols, Addr: "127.0.0.1:" + os.Getenv("APP_PORT"), Handler: mux, ReadHeaderTimeout: time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	p.log.Info("serving", "greeting", os.Getenv("GREETING"))
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		p.log.Error("serving", "error", err.Error())
		os.Exit(1)
	}
}

func (p *program) ready(w http.ResponseWriter, r *http.Request) {
	response, err := http.Get("http://127.0.0.1:" + os.Getenv("DAPR_HTTP_PORT") + "/v1.0/healthz/outbound")
	if err != nil || response.StatusCode != http.StatusNoContent {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err == nil {
		_ = response.Body.Close()
	}
}

func (p *program) echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("dapr-api-token") != os.Getenv("APP_API_TOKEN") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = io.Copy(w, r.Body)
}

func (p *program) event(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.events = append(p.events, r.PathValue("topic")+" "+string(body))
	p.mu.Unlock()
	p.log.Info("event", "topic", r.PathValue("topic"))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"status":"SUCCESS"}`)
}

func (p *program) list(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(w, strings.Join(p.events, "\n"))
}
