package records

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// DecodeSpans reads an export of spans (OTLP, ExportTraceServiceRequest as protobuf) and passes each span to visit. The row is
// valid during the call only. It reads the wire format directly, because the generated types need most of the time for
// memory, and a busy system exports thousands of spans a second.
func DecodeSpans(raw []byte, visit func(*Row)) error {
	return fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 1 {
			return nil
		}
		return resourceSpans(value, visit)
	})
}

// keptAttributes are the attributes of spans that are stored. All others could contain what must not be stored, such as
// statements with keys, and would cost more than they are worth.
var keptAttributes = map[string]bool{
	"http.request.method": true, "http.route": true, "http.response.status_code": true, "http.method": true, "http.status_code": true,
	"rpc.service": true, "rpc.method": true, "rpc.grpc.status_code": true, "db.system": true, "db.name": true,
	"messaging.system": true, "messaging.destination": true, "messaging.destination_kind": true,
	"dapr.api": true, "dapr.status_code": true, "dapr.protocol": true, "dapr.invoke_method": true, "error.type": true,
}

const (
	attributeService = "service.name"
	attributeUser    = "enduser.id"
)

// resourceSpans reads the spans of one process.
func resourceSpans(raw []byte, visit func(*Row)) error {
	row := Row{Kind: Span}
	err := fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 1 { // the resource
			return nil
		}
		return fields(value, func(number protowire.Number, value []byte, _ uint64) error {
			if number != 1 {
				return nil
			}
			key, text, _, err := attribute(value)
			if string(key) == attributeService {
				row.Instance = string(text)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	row.App = AppOf(row.Instance)
	return fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 2 { // scope
			return nil
		}
		return fields(value, func(number protowire.Number, value []byte, _ uint64) error {
			if number != 2 { // span
				return nil
			}
			span := row
			if err := span.readSpan(value); err != nil {
				return err
			}
			visit(&span)
			return nil
		})
	})
}

var spanKinds = [...]string{"", "internal", "server", "client", "producer", "consumer"}

func (r *Row) readSpan(raw []byte) error {
	var start, end uint64
	var attributes []byte
	err := fields(raw, func(number protowire.Number, value []byte, scalar uint64) error {
		switch number {
		case 1:
			r.Trace = hex.EncodeToString(value)
		case 2:
			r.SpanID = hex.EncodeToString(value)
		case 4:
			r.ParentID = hex.EncodeToString(value)
		case 5:
			r.Message = string(value)
		case 6:
			if scalar < uint64(len(spanKinds)) {
				r.SpanKind = spanKinds[scalar]
			}
		case 7:
			start = scalar
		case 8:
			end = scalar
		case 9:
			return r.addAttribute(&attributes, value)
		case 15:
			return r.readStatus(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(r.Trace) != 32 || len(r.SpanID) != 16 || start > math.MaxInt64 || end > math.MaxInt64 {
		return errors.New("a span without a valid id or time")
	}
	r.Time = time.Unix(0, int64(start))
	if end > start {
		r.Duration = time.Duration(end - start)
	}
	if len(attributes) > 0 {
		r.Attributes = string(append(attributes, '}'))
	}
	return nil
}

// addAttribute appends a kept attribute to the JSON object of all.
func (r *Row) addAttribute(object *[]byte, raw []byte) error {
	key, text, scalar, err := attribute(raw)
	if err != nil {
		return err
	}
	if string(key) == attributeUser {
		r.User = string(text)
		return nil
	}
	if !keptAttributes[string(key)] {
		return nil
	}
	if len(*object) == 0 {
		*object = append(*object, '{')
	} else {
		*object = append(*object, ',')
	}
	*object = append(*object, '"')
	*object = append(*object, key...)
	*object = append(*object, `":"`...)
	if text == nil {
		*object = strconv.AppendUint(*object, scalar, 10)
	} else {
		*object = appendEscaped(*object, string(text))
	}
	*object = append(*object, '"')
	return nil
}

func (r *Row) readStatus(raw []byte) error {
	const failed = 2
	return fields(raw, func(number protowire.Number, _ []byte, scalar uint64) error {
		if number == 3 && scalar == failed {
			r.Failed, r.Level = true, Error
		}
		return nil
	})
}

// attribute reads a key with its value: a text, or a number or truth value as a number.
func attribute(raw []byte) (key, text []byte, scalar uint64, err error) {
	err = fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		if number == 1 {
			key = value
		}
		if number != 2 {
			return nil
		}
		return fields(value, func(number protowire.Number, value []byte, of uint64) error {
			switch number {
			case 1:
				text = value
				if text == nil {
					text = []byte{}
				}
			case 2, 3:
				scalar = of
			}
			return nil
		})
	})
	return key, text, scalar, err
}

// fields passes the fields of a message to visit: messages and texts as bytes, numbers as a scalar.
func fields(raw []byte, visit func(number protowire.Number, value []byte, scalar uint64) error) error {
	for len(raw) > 0 {
		number, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return fmt.Errorf("reading spans: %w", protowire.ParseError(n))
		}
		raw = raw[n:]
		var value []byte
		var scalar uint64
		switch typ {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			scalar, n = protowire.ConsumeVarint(raw)
		case protowire.Fixed64Type:
			scalar, n = protowire.ConsumeFixed64(raw)
		default:
			n = protowire.ConsumeFieldValue(number, typ, raw)
		}
		if n < 0 {
			return fmt.Errorf("reading spans: %w", protowire.ParseError(n))
		}
		raw = raw[n:]
		if err := visit(number, value, scalar); err != nil {
			return err
		}
	}
	return nil
}
