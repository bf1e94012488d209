package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"caravan/test/apicheck"
)

// letters makes dead letters for each service that has operations for them, and batches of them.
func (c *clerk) letters(operations []apicheck.Operation) {
	for _, list := range operations {
		if list.Method != http.MethodGet || !strings.HasSuffix(list.Path, "/dead-letters") {
			continue
		}
		ids := make(map[string]string) // by the path of the operation, below that of the list
		for i, below := range []string{"/{id}", "/{id}/replay", "/{id}/discard"} {
			ids[below] = c.letter(list, fmt.Sprintf(`{"no":"event %d"}`, i))
		}
		for _, action := range []string{"replay", "discard"} {
			batch := c.make(list.Path+"/"+action, action, `{"filter":{"consumer":"nobody"},"reason":"nothing"}`)
			ids["/"+action+"s/{id}"], ids["/"+action+"s/{id}/cancel"] = batch, batch
		}
		for _, o := range operations {
			if id := ids[strings.TrimPrefix(o.Path, list.Path)]; id != "" {
				c.ids[o.ID] = id
			}
		}
	}
}

// letter makes a dead letter of the service from a message and returns its id.
func (c *clerk) letter(list apicheck.Operation, message string) string {
	app, err := answering(c.request(http.MethodGet, "http://shop"+list.Path, ""))
	if err != nil {
		c.t.Error(err)
		return ""
	}
	c.ask(c.request(http.MethodPost, "http://"+app+"/events/dead", message))
	_, raw := c.ask(c.request(http.MethodGet, "http://shop"+list.Path+"?status=open&limit=1", ""))
	var found struct{ Items []struct{ ID string } }
	if err := json.Unmarshal(raw, &found); err != nil || len(found.Items) == 0 {
		c.t.Errorf("%s has no dead letter: %s", list.Path, raw)
		return ""
	}
	return found.Items[0].ID
}

// created gives the operations about one thing the id of one that another operation creates: for /v1/things/{id} and what is
// below it, the one that the example of POST /v1/things creates.
func (c *clerk) created(operations []apicheck.Operation) {
	for _, creating := range operations {
		var about []string
		for _, o := range operations {
			if rest, below := strings.CutPrefix(o.Path, creating.Path+"/{"); below && c.ids[o.ID] == "" && strings.Count(rest, "{") == 0 {
				about = append(about, o.ID)
			}
		}
		if creating.Method != http.MethodPost || creating.Example == nil || strings.Contains(creating.Path, "{") || len(about) == 0 {
			continue
		}
		for _, id := range about { // each its own, as one operation may end what another is about
			c.ids[id] = c.make(creating.Path, "for "+id, string(creating.Example))
		}
	}
}

// make creates something and returns the last part of its location.
func (c *clerk) make(at, key, body string) string {
	r := c.request(http.MethodPost, "http://shop"+at, body)
	r.Header["Idempotency-Key"] = quoted(key)
	answer, raw := c.ask(r)
	location := answer.Get("Location")
	if location == "" {
		c.t.Errorf("preparing: POST %s gives no location: %s", at, raw)
		return ""
	}
	return path.Base(location)
}

// request is one of the clerk.
func (c *clerk) request(method, url, body string) *http.Request {
	r, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.client.Session().AccessToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// ask sends a request and returns the header and the body of the answer.
func (c *clerk) ask(r *http.Request) (http.Header, []byte) {
	response, err := c.http.Do(r)
	if err != nil {
		c.t.Errorf("preparing: %s %s: %v", r.Method, r.URL, err)
		return http.Header{}, nil
	}
	raw, _ := io.ReadAll(response.Body) // a recorder has no errors
	return response.Header, raw
}

// likeOf is the id of an operation. Those of the dead letters of further services are like those of notifications.
func likeOf(o apicheck.Operation) string {
	if strings.HasPrefix(o.Path, "/v1/ops/") && strings.Contains(o.Path, "/dead-letters") {
		id, _, _ := strings.Cut(o.ID, "Of")
		return id
	}
	return o.ID
}
