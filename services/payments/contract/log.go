package contract

import "log/slog"

// LogValue names the order in a log line.
func (a Authorize) LogValue() slog.Value { return slog.StringValue(a.OrderID) }

// LogValue names the order in a log line.
func (c Capture) LogValue() slog.Value { return slog.StringValue(c.OrderID) }

// LogValue names the order in a log line.
func (v Void) LogValue() slog.Value { return slog.StringValue(v.OrderID) }

// LogValue names the order in a log line.
func (r Refund) LogValue() slog.Value { return slog.StringValue(r.OrderID) }

// LogValue is the outcome.
func (a Authorized) LogValue() slog.Value { return slog.StringValue(a.Outcome) }

// LogValue is the outcome.
func (c Captured) LogValue() slog.Value { return slog.StringValue(c.Outcome) }

// LogValue is the outcome.
func (v Voided) LogValue() slog.Value { return slog.StringValue(v.Outcome) }

// LogValue is the outcome.
func (r Refunded) LogValue() slog.Value { return slog.StringValue(r.Outcome) }
