package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// waitLimit is how long a test waits for a condition.
const waitLimit = 30 * time.Second

// running is a mailbox that serves.
type running struct {
	t          *testing.T
	mails, url string
	box        *box
}

func start(t *testing.T, box *box) *running {
	t.Helper()
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	mails, pages := listen(), listen()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, mails, pages, box, newFaults(time.Now)) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(waitLimit):
			t.Error("it does not stop")
		}
	})
	return &running{t: t, mails: mails.Addr().String(), url: "http://" + pages.Addr().String(), box: box}
}

func startEmpty(t *testing.T) *running {
	t.Helper()
	box, err := openBox("", 100, maxKept)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, box)
}

// send sends an e-mail as any client does, within the time limit. The error is the server's answer, if it gave one.
func (r *running) send(limit time.Duration, to, message string) error {
	connection, err := net.DialTimeout("tcp", r.mails, waitLimit)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	conversation := textproto.NewConn(connection)
	if _, _, err := conversation.ReadResponse(220); err != nil {
		return err
	}
	for _, step := range []struct {
		code    int
		command string
	}{{250, "EHLO test"}, {250, "MAIL FROM:<shop@caravan.example>"}, {250, "RCPT TO:<" + to + ">"}, {354, "DATA"}} {
		if err := conversation.PrintfLine("%s", step.command); err != nil {
			return err
		}
		if _, _, err := conversation.ReadResponse(step.code); err != nil {
			return err
		}
	}
	body := conversation.DotWriter()
	_, err = io.WriteString(body, message)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	_, _, err = conversation.ReadResponse(250)
	return err
}

// count is how many e-mails it has.
func (r *running) count() int {
	_, count := r.box.list("", 0)
	return count
}

// ask sends a request and decodes its JSON into out, if that is not nil.
func (r *running) ask(method, path, body string, out any) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(request, out)
}

func (r *running) do(request *http.Request, out any) *http.Response {
	r.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	switch into := out.(type) {
	case nil:
	case *string:
		*into = string(raw)
	default:
		if err := json.Unmarshal(raw, out); err != nil {
			r.t.Fatalf("%v: %s", err, raw)
		}
	}
	return response
}

const both = "From: Caravan <shop@caravan.example>\r\nTo: ada@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n" +
	"Content-Type: multipart/alternative; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe: see https://shop.example/a?b=3D1.\r\n" +
	"--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+SGk8L3A+\r\n--b--\r\n"

func TestEmailsAreKeptAndShown(t *testing.T) {
	r := startEmpty(t)
	for _, to := range []string{"ada@example.com", "bob@example.com"} {
		if err := r.send(waitLimit, to, both); err != nil {
			t.Fatal(err)
		}
	}
	var list struct {
		Items []struct {
			ID, From, Subject, MessageID string
			To                           []string
			Size                         int
		}
		Count int
	}
	r.ask("GET", "/mails", "", &list)
	if list.Count != 2 || list.Items[0].To[0] != "bob@example.com" || list.Items[0].Subject != "Grüße" || list.Items[0].MessageID != "<1@x>" || list.Items[0].Size < 100 {
		t.Errorf("listed %+v", list)
	}
	r.ask("GET", "/mails?to=ADA@", "", &list)
	if list.Count != 1 || len(list.Items) != 1 || list.Items[0].To[0] != "ada@example.com" {
		t.Errorf("listed %+v", list)
	}
	var one struct{ Text, HTML, Subject string }
	r.ask("GET", "/mails/"+list.Items[0].ID, "", &one)
	if one.Text != "Grüße: see https://shop.example/a?b=1." || one.HTML != "<p>Hi</p>" {
		t.Errorf("got %+v", one)
	}
	var page, source string
	r.ask("GET", "/mails/"+list.Items[0].ID+"/page", "", &page)
	if !strings.Contains(page, `<a href="https://shop.example/a?b=1" rel="noopener noreferrer" target="_blank">https://shop.example/a?b=1</a>.`) {
		t.Errorf("the link is not shown: %s", page)
	}
	if r.ask("GET", "/mails/"+list.Items[0].ID+"/source", "", &source); strings.TrimSpace(source) != strings.TrimSpace(both) {
		t.Errorf("the source is %q", source)
	}
	if answer := r.ask("GET", "/mails/77", "", nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown e-mail: %s", answer.Status)
	}
	if r.ask("DELETE", "/mails", "", nil); r.count() != 0 {
		t.Error("they are still there")
	}
}

// TestHostileEmailsAreHarmless: no text of an e-mail becomes markup of the page, and its HTML is shown only in a
// sandbox.
func TestHostileEmailsAreHarmless(t *testing.T) {
	r := startEmpty(t)
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	if err := r.send(waitLimit, "ada@example.com", "Subject: "+attack+"\r\nX-"+attack+": "+attack+"\r\nContent-Type: text/html\r\n\r\n"+attack); err != nil {
		t.Fatal(err)
	}
	if err := r.send(waitLimit, "ada@example.com", "Subject: \xff\r\n\r\n"+attack+" javascript:alert(1) https://x/\"onclick=alert(1)"); err != nil {
		t.Fatal(err)
	}
	if err := r.send(waitLimit, "ada@example.com", "no header at all: "+attack); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/?to=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/mails/1/page", "/mails/2/page", "/mails/3/page"} {
		var page string
		answer := r.ask("GET", path, "", &page)
		if answer.StatusCode != 200 || strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Contains(page, `"onclick`) ||
			strings.Contains(page, `href="javascript`) {
			t.Errorf("%s: %s %s", path, answer.Status, page)
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") ||
			answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	for _, path := range []string{"/mails/1/html", "/mails/1/source"} {
		policy := r.ask("GET", path, "", nil).Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "sandbox; default-src 'none';") || strings.Contains(policy, "allow-") || strings.Contains(policy, "script-src") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	var page string
	if r.ask("GET", "/mails/1/page", "", &page); !strings.Contains(page, `<iframe sandbox title=`) {
		t.Errorf("no sandbox: %s", page)
	}
}

func TestOtherSitesAreKeptOut(t *testing.T) {
	r := startEmpty(t)
	if err := r.send(waitLimit, "ada@example.com", both); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method, path, host, origin string
		want                       int
	}{
		"by address":       {"GET", "/mails", "", "", 200},
		"localhost":        {"GET", "/mails", "localhost:80", "", 200},
		"container":        {"GET", "/mails", "mail", "", 200},
		"rebound name":     {"GET", "/mails", "attacker.example:80", "", 421},
		"deletion by site": {"DELETE", "/mails", "", "https://attacker.example", 403},
		"fault by site":    {"PUT", "/faults", "", "https://attacker.example", 403},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, r.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			request.Host = c.host
		}
		if c.origin != "" {
			request.Header.Set("Origin", c.origin)
			request.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		if answer := r.do(request, nil); answer.StatusCode != c.want {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
}

func TestFaults(t *testing.T) {
	r := startEmpty(t)
	code := func(limit time.Duration) int {
		err := r.send(limit, "ada@example.com", both)
		var answer *textproto.Error
		if errors.As(err, &answer) {
			return answer.Code
		}
		if err != nil {
			return 0
		}
		return 250
	}
	set := func(fault string, want int) {
		t.Helper()
		var said string
		if answer := r.ask("PUT", "/faults", fault, &said); answer.StatusCode != want {
			t.Errorf("%s: %s %s", fault, answer.Status, said)
		}
	}
	set(`{"mode":"refuse"}`, 200)
	if got := code(waitLimit); got != 550 {
		t.Errorf("refuse: %d", got)
	}
	set(`{"mode":"defer","share":1,"for":"10m"}`, 200)
	if got := code(waitLimit); got != 451 {
		t.Errorf("defer: %d", got)
	}
	var present fault
	if r.ask("GET", "/faults", "", &present); present.Mode != deferring || present.Count != 1 || present.For == "" {
		t.Errorf("the fault is %+v", present)
	}
	var page string
	if r.ask("GET", "/", "", &page); !strings.Contains(page, "Fault: defer") {
		t.Error("the page does not say that there is a fault")
	}
	set(`{"mode":"stall"}`, 200)
	if got := code(300 * time.Millisecond); got != 0 {
		t.Errorf("stall: %d", got)
	}
	if r.count() != 0 {
		t.Fatal("an e-mail was accepted during a fault")
	}
	set(`{"mode":"lose"}`, 200)
	if got := code(waitLimit); got != 0 || r.count() != 1 {
		t.Errorf("lose: %d, kept %d", got, r.count())
	}
	r.ask("DELETE", "/faults", "", nil)
	if got := code(waitLimit); got != 250 {
		t.Errorf("afterwards: %d", got)
	}
	for _, wrong := range []string{
		`{}`, `{"mode":"refuze"}`, `{"mode":"stall","share":2}`, `{"mode":"stall","share":-1}`, `{"mode":"stall","for":"2h"}`,
		`{"mode":"stall","for":"soon"}`, `{"mode":"stall","extra":1}`, `nonsense`,
	} {
		set(wrong, 400)
	}
}

// TestAStallEnds: with its time, when it is ended, and when the server stops (startEmpty checks that it does).
func TestAStallEnds(t *testing.T) {
	r := startEmpty(t)
	r.ask("PUT", "/faults", `{"mode":"stall","for":"300ms"}`, nil)
	if err := r.send(waitLimit, "ada@example.com", both); err != nil {
		t.Errorf("after its time: %v", err)
	}
	r.ask("PUT", "/faults", `{"mode":"stall"}`, nil)
	ended := make(chan error, 2)
	go func() { ended <- r.send(waitLimit, "ada@example.com", both) }()
	r.stalling(1)
	r.ask("DELETE", "/faults", "", nil)
	if err := <-ended; err != nil {
		t.Errorf("after its end: %v", err)
	}
	r.ask("PUT", "/faults", `{"mode":"stall"}`, nil)
	go func() { ended <- r.send(waitLimit, "ada@example.com", both) }()
	r.stalling(1)
}

// stalling waits until the fault had its effect so many times.
func (r *running) stalling(times int) {
	r.t.Helper()
	for limit := time.Now().Add(waitLimit); ; {
		var present fault
		r.ask("GET", "/faults", "", &present)
		if present.Count >= times {
			return
		}
		if time.Now().After(limit) {
			r.t.Fatal("no connection stalls")
		}
	}
}

func TestShares(t *testing.T) {
	f := newFaults(time.Now)
	if err := f.set(fault{Mode: refuse, Share: 0.3}); err != nil {
		t.Fatal(err)
	}
	hits := 0
	for range 10_000 {
		if f.draw(refuse).mode == refuse {
			hits++
		}
	}
	if hits < 2_700 || hits > 3_300 { // more than six standard deviations away
		t.Errorf("%d of 10,000 with a share of 0.3", hits)
	}
	if f.draw(lose).mode != "" {
		t.Error("a fault has the effect of another")
	}
}

func TestTheBoxIsBounded(t *testing.T) {
	b, err := openBox(t.TempDir(), 3, 1000)
	if err != nil {
		t.Fatal(err)
	}
	add := func(size int) {
		if _, err := b.add(time.Now(), "a@x", []string{"b@x"}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		add(10)
	}
	if ids := ids(b); ids != "5 4 3" {
		t.Errorf("kept %s", ids)
	}
	add(985)
	if ids := ids(b); ids != "6 5" || b.bytes != 995 {
		t.Errorf("kept %s, %d bytes", ids, b.bytes)
	}
	add(5000) // the newest is always kept
	if ids := ids(b); ids != "7" {
		t.Errorf("kept %s", ids)
	}
	r := startEmpty(t)
	if err := r.send(waitLimit, "ada@example.com", strings.Repeat(strings.Repeat("x", 98)+"\r\n", maxMessage/100+1)); err == nil || !strings.HasPrefix(err.Error(), "552") {
		t.Errorf("an e-mail that is too large: %v", err)
	}
}

func ids(b *box) string {
	found, _ := b.list("", 100)
	var all []string
	for _, m := range found {
		all = append(all, m.ID)
	}
	return strings.Join(all, " ")
}

func TestAcceptedEmailsSurviveARestart(t *testing.T) {
	folder := t.TempDir() + "/strange [1] *"
	b, err := openBox(folder, 3, maxKept)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, b)
	for i := range 12 {
		if err := r.send(waitLimit, fmt.Sprintf("u%d@example.com", i), both); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openBox(folder, 3, maxKept)
	if err != nil {
		t.Fatal(err)
	}
	if ids(again) != "12 11 10" {
		t.Errorf("kept %s", ids(again))
	}
	m, _ := again.find("12")
	if m.To[0] != "u11@example.com" || m.seen.Subject != "Grüße" || strings.TrimSpace(string(m.raw)) != strings.TrimSpace(both) {
		t.Errorf("kept %+v", m)
	}
	if id, err := again.add(time.Now(), "a@x", []string{"b@x"}, nil); err != nil || id != "13" {
		t.Errorf("the next id is %s, %v", id, err)
	}
}

func TestReadingIsBounded(t *testing.T) {
	var deep strings.Builder
	for range 2000 {
		deep.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n")
	}
	for _, raw := range []string{
		deep.String(), "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 100_000),
		"Content-Type: multipart/mixed\r\n\r\nx", "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%",
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = read([]byte(raw))
		}()
		select {
		case <-done:
		case <-time.After(waitLimit):
			t.Fatalf("reading %.50q takes too long", raw)
		}
	}
	if c := read([]byte("Subject: a\r\n b\r\nX: 1\r\n\r\nbody")); len(c.Headers) != 2 || c.Headers[0].Value != "a b" || c.Text != "body" {
		t.Errorf("read %+v", c)
	}
}
