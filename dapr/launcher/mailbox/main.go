// Command mailbox is the mail server of a stack for development. It accepts every e-mail over SMTP, sends none on, keeps
// the last ones, and shows them on a page. It can be told to refuse, to defer, to stall or to lose its answer, so that
// one can see what the programs then do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/net/netutil"

	"caravan/internal/version"
)

// Limits of the server.
const (
	maxMessage     = 2 << 20 // bytes of one e-mail
	maxKept        = 64 << 20
	maxRecipients  = 100
	maxConnections = 1000
	idleTimeout    = 2 * time.Minute
	probeTimeout   = 3 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mailbox:", err)
		os.Exit(1)
	}
}

func run() error {
	host := flag.String("host", "127.0.0.1", "address to listen on")
	port := flag.Int("port", 0, "port for SMTP")
	page := flag.Int("page", 0, "port for the page, over HTTP")
	keep := flag.Int("keep", 1000, "how many e-mails to keep")
	data := flag.String("data", "", "folder that keeps the e-mails over a restart; only in memory without it")
	probing := flag.Bool("probe", false, "ask the page that listens on the port whether it answers, and exit")
	showVersion := flag.Bool("version", false, "print what this is built from, and exit")
	flag.Parse()
	switch {
	case *showVersion:
		fmt.Println("mailbox", version.Read())
		return nil
	case *probing && *page != 0 && flag.NArg() == 0:
		return probe(*page)
	case *port == 0 || *page == 0 || *keep < 1 || flag.NArg() != 0:
		return errors.New("needs -port and -page, and nothing else")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	box, err := openBox(*data, *keep, maxKept)
	if err != nil {
		return err
	}
	mails, err := net.Listen("tcp", net.JoinHostPort(*host, strconv.Itoa(*port)))
	if err != nil {
		return fmt.Errorf("listening for e-mails: %w", err)
	}
	pages, err := net.Listen("tcp", net.JoinHostPort(*host, strconv.Itoa(*page)))
	if err != nil {
		return fmt.Errorf("listening for the page: %w", err)
	}
	slog.Info("serving", "smtp", mails.Addr().String(), "page", "http://"+pages.Addr().String())
	return serve(ctx, mails, pages, box, newFaults(time.Now))
}

// serve runs both servers until the context ends or one of them fails.
func serve(ctx context.Context, mails, pages net.Listener, box *box, faults *faults) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	smtpServer := newServer(ctx, box, faults)
	web := &http.Server{Handler: newPages(box, faults), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	ended := make(chan error, 2)
	go func() { ended <- smtpServer.Serve(netutil.LimitListener(mails, maxConnections)) }()
	go func() { ended <- web.Serve(netutil.LimitListener(pages, maxConnections)) }()
	var err error
	running := 2
	select {
	case err = <-ended:
		running--
	case <-ctx.Done():
	}
	cancel() // ends stalls
	_ = smtpServer.Close()
	_ = mails.Close() // a server that has not begun to serve does not know it
	_ = web.Close()
	for range running {
		<-ended
	}
	return err
}

func newServer(ctx context.Context, box *box, faults *faults) *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{ctx: ctx, conn: c, box: box, faults: faults}, nil
	}))
	server.Domain = "mailbox"
	server.MaxMessageBytes, server.MaxRecipients = maxMessage, maxRecipients
	server.ReadTimeout, server.WriteTimeout = idleTimeout, idleTimeout
	server.EnableSMTPUTF8 = true
	server.ErrorLog = log.New(io.Discard, "", 0) // connections that break, as with every restart of a client
	return server
}

// probe asks the page whether it answers.
func probe(port int) error {
	client := http.Client{Timeout: probeTimeout}
	response, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/healthz")
	if err != nil {
		return fmt.Errorf("the mailbox on port %d does not answer: %w", port, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the mailbox on port %d answers %s", port, response.Status)
	}
	return nil
}
