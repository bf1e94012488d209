package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"caravan/dapr/records"
)

// receiver takes exports of spans (OTLP over HTTP).
type receiver struct {
	spool  *spool
	counts *counts
	share  float64 // of the traces whose spans of sidecars are kept
}

// maxExport bounds one export. Exporters send at most 512 spans at once.
const maxExport = 8 << 20

// maxAtOnce bounds the exports that are read at once.
const maxAtOnce = 8

func (r *receiver) handler() http.Handler {
	mux := http.NewServeMux()
	slots := make(chan struct{}, maxAtOnce)
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, request *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			r.traces(w, request)
		case <-request.Context().Done():
		}
	})
	// An exporter of spans has one for metrics beside it, and lines come from files.
	for _, other := range []string{"POST /v1/metrics", "POST /v1/logs"} {
		mux.HandleFunc(other, func(w http.ResponseWriter, request *http.Request) {
			_, _ = io.Copy(io.Discard, io.LimitReader(request.Body, maxExport))
			w.Header().Set("Content-Type", protobuf)
		})
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.counts.status())
	})
	return mux
}

const protobuf = "application/x-protobuf"

// buffers are reused for exports.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (r *receiver) traces(w http.ResponseWriter, request *http.Request) {
	if kind, _, _ := strings.Cut(request.Header.Get("Content-Type"), ";"); kind != protobuf {
		http.Error(w, "Send spans as "+protobuf+".", http.StatusUnsupportedMediaType)
		return
	}
	body, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	if err := readExport(body, w, request); err != nil {
		r.counts.invalid.Add(1)
		http.Error(w, "The export cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	rows := make([]byte, 0, 2*body.Len())
	var kept, left int64
	err := records.DecodeSpans(body.Bytes(), func(row *records.Row) {
		if records.IsSidecar(row.Instance) && !r.sampled(row.Trace) {
			left++
			return
		}
		kept++
		row.Message = records.Mask(row.Message)
		row.Attributes = records.Mask(row.Attributes)
		rows = records.AppendRow(rows, row)
	})
	if err != nil {
		r.counts.invalid.Add(1)
		http.Error(w, "The export cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := r.spool.append(rows); err != nil {
		r.counts.refused.Add(kept)
		w.Header().Set("Retry-After", "2")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	r.counts.spans.Add(kept)
	r.counts.left.Add(left)
	w.Header().Set("Content-Type", protobuf) // the empty answer says that all was accepted
}

func readExport(body *bytes.Buffer, w http.ResponseWriter, request *http.Request) error {
	var reader io.Reader = http.MaxBytesReader(w, request.Body, maxExport)
	switch request.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		unzipped, err := gzip.NewReader(reader)
		if err != nil {
			return err
		}
		reader = unzipped
	default:
		return errors.New("unknown encoding")
	}
	_, err := body.ReadFrom(io.LimitReader(reader, maxExport+1))
	if err == nil && body.Len() > maxExport {
		err = errors.New("it is too long")
	}
	return err
}

// sampled reports whether spans of sidecars of a trace are kept. All collectors decide alike, by the trace's id.
func (r *receiver) sampled(trace string) bool {
	if r.share >= 1 || len(trace) < 32 {
		return true
	}
	number, err := strconv.ParseUint(trace[18:32], 16, 64) // 56 bits
	return err != nil || float64(number) < r.share*(1<<56)
}
