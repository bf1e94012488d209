package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
)

// inboxBody is a page of notifications with the count of those that are unread.
type inboxBody struct {
	Items []struct {
		ID       string `json:"id"`
		Position int    `json:"position"`
		Type     string `json:"type"`
		Subject  string `json:"subject"`
		ReadAt   string `json:"readAt"`
	} `json:"items"`
	Unread int `json:"unread"`
}

// inbox waits until a customer has so many notifications, and returns them.
func (c *customer) inbox(want int) (page inboxBody) {
	c.t.Helper()
	eventually(c.t, "the notifications", func() error {
		page = inboxBody{}
		if err := c.try("/v1/notifications", &page); err != nil {
			return err
		}
		if len(page.Items) != want {
			return errorf("there are %d, want %d", len(page.Items), want)
		}
		return nil
	})
	return page
}

// TestReadAllAndDelete counts what is unread, reads a part of the inbox at once, and deletes a notification. Its event is then
// delivered again, and does not come back.
func TestReadAllAndDelete(t *testing.T) {
	s := shared(t)
	c := open(t, s).customer(0)
	c.deposit(100)
	c.deposit(200)
	before := c.inbox(3)
	if before.Unread != 3 || before.Items[0].Position != 3 || before.Items[2].Position != 1 {
		t.Fatalf("the inbox is %+v", before)
	}
	c.must(http.StatusNoContent, http.MethodPost, "/v1/notifications/read-all", map[string]int{"upTo": 2}, nil)
	after := c.inbox(3)
	if after.Unread != 1 || after.Items[0].ReadAt != "" || after.Items[1].ReadAt == "" || after.Items[2].ReadAt == "" {
		t.Errorf("after reading two of three the inbox is %+v", after)
	}

	deleted := c.inbox(3).Items[0]
	path := "/v1/notifications/" + deleted.ID
	c.must(http.StatusNoContent, http.MethodDelete, path, nil, nil)
	c.must(http.StatusNoContent, http.MethodDelete, path, nil, nil)
	c.must(http.StatusNotFound, http.MethodPost, path+"/read", nil, nil)
	if rest := c.inbox(2); rest.Unread != 0 {
		t.Errorf("after deleting the unread one the inbox is %+v", rest)
	}

	// The same event once more, and then another one.
	s.publish(t, "payments", "payments", c.stored(deleted.Position))
	c.deposit(300)
	if last := c.inbox(3); last.Items[0].Position != 4 || last.Unread != 1 {
		t.Errorf("after another delivery of the deleted one the inbox is %+v", last)
	}
	c.deleted = append(c.deleted, deleted.Type+" "+deleted.Subject) // the books are without it
}

// stored is the event of a notification as the inbox has it.
func (c *customer) stored(position int) event.Event {
	c.t.Helper()
	raw, _ := c.shop.stack.documents(c.t, "notifications").Read("inbox/" + c.id)
	var inbox struct {
		Entries []struct {
			Event, Type string
			OccurredAt  time.Time
		}
	}
	if err := json.Unmarshal(raw, &inbox); err != nil || len(inbox.Entries) < position {
		c.t.Fatalf("the inbox is %s, %v", raw, err)
	}
	e := inbox.Entries[position-1]
	sequence, err := strconv.ParseInt(e.Event[strings.LastIndexByte(e.Event, '/')+1:], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return event.Event{
		ID: e.Event, Type: e.Type, Source: "payments", Subject: c.id, Sequence: sequence, Time: e.OccurredAt,
		Data: fmt.Appendf(nil, `{"userId":%q,"depositId":"d","amount":{"amount":1,"currency":"EUR"}}`, c.id),
	}
}
