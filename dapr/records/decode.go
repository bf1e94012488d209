package records

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// DecodeRow reads a row from the JSON that the store answers. All its values are strings.
func DecodeRow(raw []byte) (Row, error) {
	var columns map[string]string
	if err := json.Unmarshal(raw, &columns); err != nil {
		return Row{}, fmt.Errorf("reading a row of the store: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, columns[colTime])
	if err != nil {
		return Row{}, fmt.Errorf("reading the time of a row of the store: %w", err)
	}
	r := Row{
		Kind: Kind(columns[colKind]), Time: at, Instance: columns[colInstance], App: columns[colApp], Level: Level(columns[colLevel]),
		Message: columns[colMessage], File: columns[colFile], Line: columns[colLine],
		IDs:    IDs{Correlation: columns[ColumnCorrelation], Trace: columns[ColumnTrace], Aggregate: columns[ColumnAggregate], User: columns[colUser]},
		SpanID: columns[colSpan], ParentID: columns[colParent], SpanKind: columns[colSpanKind], Failed: columns[colFailed] == "true",
		Attributes: columns[colAttributes],
	}
	if r.Message == " " {
		r.Message = ""
	}
	for column, number := range map[string]*int64{ColumnOffset: &r.Offset, colDuration: (*int64)(&r.Duration)} {
		text, ok := columns[column]
		if !ok {
			continue
		}
		if *number, err = strconv.ParseInt(text, 10, 64); err != nil {
			return Row{}, fmt.Errorf("reading the column %s of a row of the store: %w", column, err)
		}
	}
	return r, nil
}
