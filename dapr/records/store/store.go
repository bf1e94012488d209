// Package store is the client of the store for log lines and spans, VictoriaLogs: its HTTP API for inserts and queries.
package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"caravan/dapr/records"
)

// Client calls the store at a URL. It uses one connection for all calls except queries, see Insert.
type Client struct {
	url     string
	single  *http.Client // one connection
	queries *http.Client
	opened  atomic.Int64 // connections that single has made
}

// New returns a client of the store at a URL such as http://127.0.0.1:9428.
func New(address string) *Client {
	c := &Client{url: strings.TrimSuffix(address, "/")}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	c.single = &http.Client{Transport: &http.Transport{
		DisableCompression: true, MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &numbered{connection, c.opened.Add(1)}, nil
		},
	}}
	c.queries = &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2}}
	return c
}

// Close closes idle connections.
func (c *Client) Close() {
	c.single.CloseIdleConnections()
	c.queries.CloseIdleConnections()
}

// numbered is a connection with its number.
type numbered struct {
	net.Conn
	number int64
}

// Insert stores lines that records.AppendRow made. It returns the number of the connection that was used. While the number is the
// same, the store is the same process: it has forgotten nothing that it accepted.
func (c *Client) Insert(ctx context.Context, lines []byte) (connection int64, err error) {
	address := c.url + "/insert/jsonline?_stream_fields=" + url.QueryEscape(records.StreamColumns)
	if connection, err = c.do(ctx, http.MethodPost, address, lines); err != nil {
		return connection, fmt.Errorf("storing log lines: %w", err)
	}
	return connection, nil
}

// Health asks whether the store works, on the connection of Insert.
func (c *Client) Health(ctx context.Context) (connection int64, err error) {
	if connection, err = c.do(ctx, http.MethodGet, c.url+"/health", nil); err != nil {
		return connection, fmt.Errorf("asking the store for log lines whether it works: %w", err)
	}
	return connection, nil
}

// Flush makes everything that the store has accepted visible to queries.
func (c *Client) Flush(ctx context.Context) error {
	if _, err := c.do(ctx, http.MethodGet, c.url+"/internal/force_flush", nil); err != nil {
		return fmt.Errorf("flushing the store for log lines: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, address string, body []byte) (connection int64, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if n, ok := info.Conn.(*numbered); ok {
			connection = n.number
		}
	}})
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	// Of a request that may be replayed, net/http would send a second copy by itself.
	request.GetBody = nil
	request.Header.Set("Content-Type", "application/stream+json")
	response, err := c.single.Do(request)
	if err != nil {
		return connection, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return connection, err
	}
	if response.StatusCode/100 != 2 {
		return connection, fmt.Errorf("the answer is %s: %.300s", response.Status, bytes.TrimSpace(answer))
	}
	return connection, nil
}

// Query passes the rows that a query of LogsQL finds from a time on to visit, in no order. The zero time asks for all.
func (c *Client) Query(ctx context.Context, query string, since time.Time, visit func(row []byte) error) error {
	form := url.Values{"query": {query}}
	if !since.IsZero() {
		form.Set("start", strconv.FormatInt(since.UnixNano(), 10))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/select/logsql/query", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("asking the store for log lines: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.queries.Do(request)
	if err != nil {
		return fmt.Errorf("asking the store for log lines: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("asking the store for log lines: the answer is %s: %s", response.Status, bytes.TrimSpace(answer))
	}
	scanner := bufio.NewScanner(response.Body)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		if len(scanner.Bytes()) == 0 {
			continue
		}
		if err := visit(scanner.Bytes()); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading what the store answers: %w", err)
	}
	return nil
}

// Rows returns the rows that a query finds, without copies of the same row, in the order of records.Order.
func (c *Client) Rows(ctx context.Context, query string, since time.Time) ([]records.Row, error) {
	var rows []records.Row
	err := c.Query(ctx, query, since, func(raw []byte) error {
		row, err := records.DecodeRow(raw)
		rows = append(rows, row)
		return err
	})
	return records.Distinct(rows), err
}

// Values returns the values of one column of what a query finds.
func (c *Client) Values(ctx context.Context, query, column string, since time.Time) ([]string, error) {
	var values []string
	err := c.Query(ctx, query, since, func(raw []byte) error {
		var columns map[string]string
		if err := json.Unmarshal(raw, &columns); err != nil {
			return fmt.Errorf("reading a row of the store: %w", err)
		}
		if value := columns[column]; value != "" {
			values = append(values, value)
		}
		return nil
	})
	return values, err
}

// Offsets returns the places, from an offset on, of the lines of a file that the store has.
func (c *Client) Offsets(ctx context.Context, file string, from int64) (map[int64]bool, error) {
	texts, err := c.Values(ctx, records.OffsetsQL(file, from), records.ColumnOffset, time.Time{})
	if err != nil {
		return nil, err
	}
	offsets := make(map[int64]bool, len(texts))
	for _, text := range texts {
		offset, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("the store answers an offset that is no number")
		}
		offsets[offset] = true
	}
	return offsets, nil
}
