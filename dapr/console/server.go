package main

import (
	"net/http"
	"strconv"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/records/store"
	"caravan/internal/clock"
)

// Deadlines of calls to other programs.
const (
	firstView     = 1500 * time.Millisecond // reads before a page is shown; what is missing then follows by its stream
	callTimeout   = 4 * time.Second         // a read of the gateway, the launcher or the store for log lines
	signInTimeout = 10 * time.Second
	actionTimeout = 25 * time.Second // an action; a replay may take 20 s
	auditTimeout  = 65 * time.Second
)

// server is the page for staff.
type server struct {
	gateway  *client.Client // without credentials
	logs     *store.Client  // nil if there is no store for log lines
	logsURL  string
	control  stackControl // nil if the launcher does not run on this machine
	sessions *sessions
	clock    clock.Clock
	cookie   string // the name of the session cookie
	jobs     *jobs
	tick     time.Duration // how often a stream looks for changes
}

func newServer(given settings, clk clock.Clock) *server {
	s := &server{
		// A call never lasts longer than its own deadline.
		gateway: client.New(given.gateway, &http.Client{Timeout: auditTimeout + 5*time.Second}),
		logs:    logStore(given.logs), logsURL: given.logs,
		sessions: newSessions(clk), clock: clk,
		// Browsers share cookies between the ports of a host, so that consoles of two stacks would overwrite each other's.
		cookie: "caravan-console-" + strconv.Itoa(given.port),
		jobs:   newJobs(), tick: time.Second,
	}
	if given.dir != "" {
		s.control = &localControl{dir: given.dir}
	}
	return s
}

// handler has all routes. Those below signedIn need a session.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /static/{file}", serveStatic)
	mux.HandleFunc("GET /sign-in", s.showSignIn)
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "This page does not exist.")
	})
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, *session){
		"GET /{$}":                          s.showBoard,
		"GET /board/stream":                 s.streamBoard,
		"GET /orders":                       s.listOrders,
		"GET /orders/{id}":                  s.showOrder,
		"GET /orders/{id}/stream":           s.streamOrder,
		"GET /orders/{id}/text":             s.showOrderText,
		"POST /orders/{id}/{action}":        s.actOnOrder,
		"GET /break":                        s.showBreak,
		"GET /break/stream":                 s.streamBreak,
		"POST /break/orders":                s.placeOrders,
		"POST /break/processes/{name}":      s.actOnProcess,
		"POST /break/connections/{name}":    s.actOnConnection,
		"GET /letters":                      s.showLetters,
		"GET /letters/stream":               s.streamLetters,
		"POST /letters/replay":              s.replayLetters,
		"POST /letters/{id}/{action}":       s.actOnLetter,
		"POST /letters/batches/{id}/cancel": s.cancelBatch,
		"POST /sign-out":                    s.signOut,
	} {
		mux.HandleFunc(pattern, s.signedIn(serve))
	}
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}
