package follow

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// event is one server-sent event, or only a retry time.
type event struct {
	name, data string
	retry      time.Duration // 0 if there is none
}

// read passes the events of a stream on until it ends.
func read(in io.Reader, take func(event) error) error {
	lines, e := bufio.NewScanner(in), event{}
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if e != (event{}) {
				if err := take(e); err != nil {
					return err
				}
			}
			e = event{}
		case field == "event":
			e.name = value
		case field == "data":
			e.data += value
		case field == "retry":
			ms, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return fmt.Errorf("a stream says retry: %q", value)
			}
			e.retry = time.Duration(ms) * time.Millisecond
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading a stream: %w", err)
	}
	return nil
}

// take records one event and checks that it is newer than those before it.
func (s *Stream) take(e event) error {
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.retry > 0 {
		s.pause = e.retry
	}
	var data struct {
		Position        int
		From, To        int
		OrderID, Status string
		Sequence        int64
		OccurredAt      time.Time
		Reason          string
	}
	if e.name == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(e.data), &data); err != nil {
		return fmt.Errorf("reading the event %q of a stream: %w", e.name, err)
	}
	switch e.name {
	case "open":
		if s.seen.Opened == 0 {
			s.seen.First, s.seen.Position = data.Position, data.Position
		}
		s.seen.Opened++
		if !s.open {
			s.open = true
			s.crowd.count(1)
		}
	case "skipped":
		s.seen.Skipped += data.To - data.From + 1
		s.seen.Position = max(s.seen.Position, data.To)
	case "notification":
		s.notified(data.Position)
	case "order":
		s.ordered(data.OrderID, Status{Status: data.Status, Sequence: data.Sequence, OccurredAt: data.OccurredAt, At: at})
	case "end":
	default:
		return fmt.Errorf("a stream has an unknown event %q", e.name)
	}
	return nil
}

func (s *Stream) notified(position int) {
	s.seen.Notifications++
	if position <= s.seen.Position {
		s.seen.OutOfOrder++
		return
	}
	s.seen.Skipped += position - s.seen.Position - 1
	s.seen.Position = position
}

func (s *Stream) ordered(order string, status Status) {
	had := s.seen.Statuses[order]
	if len(had) > 0 && status.Sequence <= had[len(had)-1].Sequence {
		s.seen.OutOfOrder++
	}
	s.seen.Statuses[order] = append(had, status)
}
