package records

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Columns that clients of the store ask for alone.
const (
	ColumnOffset      = "offset"
	ColumnCorrelation = "correlation_id"
	ColumnTrace       = "trace_id"
	ColumnAggregate   = "aggregate"
)

// The names of the other columns in the store.
const (
	colTime       = "_time"
	colMessage    = "_msg"
	colKind       = "kind"
	colInstance   = "instance"
	colApp        = "app"
	colFile       = "file"
	colLevel      = "level"
	colLine       = "line"
	colUser       = "user_id"
	colSpan       = "span_id"
	colParent     = "parent_span_id"
	colDuration   = "duration_ns"
	colSpanKind   = "span_kind"
	colFailed     = "failed"
	colAttributes = "attributes"
)

// StreamColumns are the columns whose values say where rows come from. The store keeps rows with the same values together.
const StreamColumns = colKind + "," + colApp + "," + colInstance + "," + colFile

// AppendRow appends a row as one line of JSON, with the columns that are not empty.
func AppendRow(out []byte, r *Row) []byte {
	out = append(out, `{"`+colTime+`":`...)
	out = strconv.AppendInt(out, r.Time.UnixNano(), 10)
	for _, column := range [...]struct{ name, value string }{
		{colMessage, orBlank(r.Message)}, {colKind, string(r.Kind)}, {colApp, r.App}, {colInstance, r.Instance}, {colFile, r.File},
		{colLevel, string(r.Level)}, {ColumnCorrelation, r.Correlation}, {ColumnTrace, r.Trace}, {colSpan, r.SpanID},
		{colParent, r.ParentID}, {ColumnAggregate, r.Aggregate}, {colUser, r.User}, {colSpanKind, r.SpanKind},
		{colAttributes, r.Attributes}, {colLine, r.Line},
	} {
		if column.value == "" {
			continue
		}
		out = append(out, `,"`...)
		out = append(out, column.name...)
		out = append(out, `":"`...)
		out = appendEscaped(out, column.value)
		out = append(out, '"')
	}
	if r.Kind == Span {
		out = append(out, `,"`+colDuration+`":`...)
		out = strconv.AppendInt(out, int64(r.Duration), 10)
		if r.Failed {
			out = append(out, `,"`+colFailed+`":"true"`...)
		}
	}
	if r.File != "" {
		out = append(out, `,"`+ColumnOffset+`":`...)
		out = strconv.AppendInt(out, r.Offset, 10)
	}
	return append(out, '}', '\n')
}

// AppendPlace appends a row that AppendRow made without a place, and adds the place. It returns out unchanged if the text is no
// whole row.
func AppendPlace(out, row []byte, file string, offset int64) []byte {
	row, whole := bytes.CutSuffix(bytes.TrimSuffix(row, []byte{'\n'}), []byte{'}'})
	if !whole || !bytes.HasPrefix(row, []byte(`{"`+colTime+`":`)) {
		return out
	}
	out = append(out, row...)
	out = append(out, `,"`+colFile+`":"`...)
	out = appendEscaped(out, file)
	out = append(out, `","`+ColumnOffset+`":`...)
	out = strconv.AppendInt(out, offset, 10)
	return append(out, '}', '\n')
}

// orBlank returns a blank for "": the store replaces an empty message by a text of its own.
func orBlank(message string) string {
	if message == "" {
		return " "
	}
	return message
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends a text as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendEscaped(out []byte, text string) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				out = append(out, text[start:i]...)
				out = append(out, `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		out = append(out, text[start:i]...)
		if c == '"' || c == '\\' {
			out = append(out, '\\', c)
		} else {
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(out, text[start:]...)
}
