package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// reads measures product pages without a user, and as staff with an access token.
func (s *shop) reads(ctx context.Context, duration time.Duration) ([]Load, error) {
	if _, err := s.staff.GetOwnUser(ctx); err != nil { // renews the token
		return nil, limited(err)
	}
	var loads []Load
	for _, kind := range []struct{ name, header string }{
		{"product pages, without a user", ""},
		{"product pages, as staff", "Authorization: Bearer " + s.staff.Session().AccessToken + "\r\n"},
	} {
		const clients = 64
		load, err := s.readLoad(ctx, kind.name, kind.header, clients, duration)
		if err != nil {
			return nil, err
		}
		loads = append(loads, load)
	}
	return loads, nil
}

func (s *shop) readLoad(ctx context.Context, name, header string, clients int, duration time.Duration) (Load, error) {
	address, err := url.Parse(s.gateway)
	if err != nil {
		return Load{}, fmt.Errorf("reading the gateway's address: %w", err)
	}
	host := address.Host
	if address.Port() == "" {
		host = net.JoinHostPort(address.Hostname(), "80")
	}
	requests := make([][]byte, products)
	for n := range requests {
		requests[n] = fmt.Appendf(nil, "GET %s/v1/products/%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", address.Path, sku(n), address.Host, header)
	}
	tallies := make([]*tally, clients)
	began := time.Now()
	deadline := began.Add(duration)
	group, ctx := errgroup.WithContext(ctx)
	for i := range tallies {
		tallies[i] = &tally{outcomes: map[string]int{}}
		group.Go(func() error { return s.readUntil(ctx, host, requests, deadline, tallies[i]) })
	}
	err = group.Wait()
	elapsed := time.Since(began)
	all := &tally{outcomes: map[string]int{}}
	for _, t := range tallies {
		all.took = append(all.took, t.took...)
		for outcome, count := range t.outcomes {
			all.outcomes[outcome] += count
		}
	}
	if all.outcomes["429"] > 0 {
		return Load{}, errLimited
	}
	return all.load(name, clients, elapsed), err
}

// readUntil sends prepared requests over one connection, one after another. It writes HTTP/1.1 directly: on a small
// machine a full client costs as much as the gateway that is measured.
func (s *shop) readUntil(ctx context.Context, host string, requests [][]byte, deadline time.Time, t *tally) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("connecting to the gateway: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline.Add(10 * time.Second))
	reader := bufio.NewReaderSize(conn, 16<<10)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		started := time.Now()
		if _, err := conn.Write(requests[s.pick()]); err != nil {
			return fmt.Errorf("asking for a product: %w", err)
		}
		status, err := skipResponse(reader)
		if err != nil {
			return fmt.Errorf("reading a product: %w", err)
		}
		t.add(time.Since(started), status)
	}
	return nil
}

// skipResponse reads one response and returns its status.
func skipResponse(reader *bufio.Reader) (status string, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(line) < len("HTTP/1.1 200") {
		return "", fmt.Errorf("status line %q", line)
	}
	status = string(line[9:12])
	length := -1
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) <= 2 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[len(name):]))); err != nil {
				return "", fmt.Errorf("header %q", line)
			}
		}
	}
	if length < 0 {
		return "", errors.New("an answer without a Content-Length")
	}
	_, err = io.CopyN(io.Discard, reader, int64(length))
	return status, err
}
