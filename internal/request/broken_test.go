package request

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"caravan/internal/problem"
)

// A body that cannot be read is refused as a fault of the sender, whatever the cause.
func TestBodiesThatCanNotBeRead(t *testing.T) {
	const header = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	const chunked = header + "Transfer-Encoding: chunked\r\n\r\n"
	decoders := map[string]func(*http.Request, any, ...Option) error{"required": Decode, "optional": DecodeOptional}
	for kind, decode := range decoders {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			var body struct {
				A int `json:"a"`
			}
			problem.Write(w, r, decode(r, &body))
		}))
		defer server.Close()
		for name, tc := range map[string]struct {
			sent   string
			half   bool
			status int
		}{
			"nothing of it":       {header + "Content-Length: 7\r\n\r\n", true, 400},
			"part of it":          {header + "Content-Length: 7\r\n\r\n{\"a\":", true, 400},
			"all but its end":     {header + "Content-Length: 9\r\n\r\n{\"a\":1}", true, 400},
			"no chunk":            {chunked, true, 400},
			"no last chunk":       {chunked + "7\r\n{\"a\":1}\r\n", true, 400},
			"no end of the last":  {chunked + "7\r\n{\"a\":1}\r\n0\r\n", true, 400},
			"not a length":        {chunked + "ZZ\r\n", false, 400},
			"a chunk too long":    {chunked + "2\r\n{\"a\":1}\r\n0\r\n\r\n", false, 400},
			"a broken trailer":    {chunked + "7\r\n{\"a\":1}\r\n0\r\nno trailer\r\n\r\n", false, 400},
			"nothing more comes":  {header + "Content-Length: 7\r\n\r\n{", false, 408},
			"no more chunks come": {chunked + "1\r\n{\r\n", false, 408},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				connection, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer connection.Close()
				_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(connection, tc.sent)
				if tc.half {
					_ = connection.(*net.TCPConn).CloseWrite()
				}
				response, err := http.ReadResponse(bufio.NewReader(connection), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				if response.StatusCode != tc.status || response.Header.Get("Content-Type") != problem.ContentType {
					t.Errorf("got %d %s, want %d", response.StatusCode, response.Header.Get("Content-Type"), tc.status)
				}
			})
		}
	}
}
