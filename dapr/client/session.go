package client

import (
	"context"
	"net/http"
	"time"
)

// Login returns a client for the user. It renews its session before the access token expires.
func (c *Client) Login(ctx context.Context, email, password string) (*Client, error) {
	user := New(c.base, c.http)
	user.credentials = Credentials{Email: email, Password: password}
	if err := user.keep(user.SignIn(ctx, user.credentials)); err != nil {
		return nil, err
	}
	return user, nil
}

// keep stores the session for later calls.
func (c *Client) keep(session Session, err error) error {
	if err != nil {
		return err
	}
	c.session = session
	// Early enough for clocks that differ and requests on their way.
	c.renewAt = time.Now().Add(time.Duration(session.ExpiresIn) * time.Second * 3 / 4)
	return nil
}

// token returns the access token to send, renewed if it expires soon, or "" for a client that has not logged in.
func (c *Client) token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.AccessToken == "" || time.Now().Before(c.renewAt) {
		return c.session.AccessToken, nil
	}
	err := c.keep(c.RefreshSession(ctx, Refresh{RefreshToken: c.session.RefreshToken}))
	if Status(err) == http.StatusUnauthorized && c.credentials.Password != "" { // the session has ended
		err = c.keep(c.SignIn(ctx, c.credentials))
	}
	return c.session.AccessToken, err
}

// Session returns the client's current session.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Token returns an access token that is valid now, for requests that this package does not send, such as event streams.
func (c *Client) Token(ctx context.Context) (string, error) { return c.token(ctx) }

// Resume returns a client with a session that was opened elsewhere. Its calls fail with the status 401 when the session has ended.
func (c *Client) Resume(session Session) *Client {
	user := New(c.base, c.http)
	_ = user.keep(session, nil)
	return user
}
