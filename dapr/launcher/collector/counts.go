package main

import "sync/atomic"

// counts are what the collector has done since its start. The page /status shows them.
type counts struct {
	lines    atomic.Int64 // sent, of logs and of spans
	spans    atomic.Int64 // received
	left     atomic.Int64 // spans of sidecars that a setting leaves out
	refused  atomic.Int64 // spans refused because the files for them are full; their exporter may send them again
	invalid  atomic.Int64 // exports that cannot be read
	bytes    atomic.Int64 // of files, not sent yet
	failures atomic.Int64 // of the store, one after the other
}

// status is the content of /status.
type status struct {
	Lines          int64 `json:"lines"`
	Spans          int64 `json:"spans"`
	SpansLeftOut   int64 `json:"spansLeftOut"`
	SpansRefused   int64 `json:"spansRefused"`
	ExportsInvalid int64 `json:"exportsInvalid"`
	BytesBehind    int64 `json:"bytesBehind"`
	StoreFailures  int64 `json:"storeFailures"`
}

func (c *counts) status() status {
	return status{
		Lines: c.lines.Load(), Spans: c.spans.Load(), SpansLeftOut: c.left.Load(), SpansRefused: c.refused.Load(),
		ExportsInvalid: c.invalid.Load(), BytesBehind: c.bytes.Load(), StoreFailures: c.failures.Load(),
	}
}
