package client

import (
	"context"
	"net/http"
	"time"
)

// Login returns a client that calls as that user, and renews its session by
// itself before the access token expires.
func (c *Client) Login(ctx context.Context, email, password string) (*Client, error) {
	user := New(c.base, c.http)
	user.credentials = Credentials{Email: email, Password: password}
	if err := user.keep(user.SignIn(ctx, user.credentials)); err != nil {
		return nil, err
	}
	return user, nil
}

// keep makes the session the one to call with.
func (c *Client) keep(session Session, err error) error {
	if err != nil {
		return err
	}
	c.session = session
	// With time to spare for a clock that differs and a request on its way.
	c.renewAt = time.Now().Add(time.Duration(session.ExpiresIn) * time.Second * 3 / 4)
	return nil
}

// token is the access token to send, renewed when it is about to expire; "" for
// a client that has not logged in.
func (c *Client) token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.AccessToken == "" || time.Now().Before(c.renewAt) {
		return c.session.AccessToken, nil
	}
	err := c.keep(c.RefreshSession(ctx, Refresh{RefreshToken: c.session.RefreshToken}))
	if Status(err) == http.StatusUnauthorized { // the session has ended
		err = c.keep(c.SignIn(ctx, c.credentials))
	}
	return c.session.AccessToken, err
}

// Session is the session the client calls with.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
