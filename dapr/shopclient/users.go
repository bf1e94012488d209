package shopclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// User is an account.
type User struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"createdAt"`
}

// Session is what a login answers.
type Session struct {
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
	ExpiresIn    int64  `json:"expiresIn"` // seconds
	TokenType    string `json:"tokenType"`
}

// List is one page of a list; Next is "" on the last.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// Register makes an account. A taken address is a 409.
func (c *Client) Register(ctx context.Context, email, password, name string) (User, error) {
	var user User
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/users", want: []int{http.StatusCreated}, into: &user, anonymous: true,
		body: map[string]string{"email": email, "password": password, "name": name},
	})
	return user, err
}

// Login returns a client that calls as that user, and renews its session by
// itself before the access token expires.
func (c *Client) Login(ctx context.Context, email, password string) (*Client, error) {
	in := New(c.base, c.http)
	in.credentials = credentials{email, password}
	if err := in.open(ctx); err != nil {
		return nil, err
	}
	return in, nil
}

func (c *Client) open(ctx context.Context) error {
	return c.renewSession(ctx, "/v1/sessions", map[string]string{"email": c.email, "password": c.password})
}

func (c *Client) renewSession(ctx context.Context, path string, body any) error {
	var session Session
	if _, err := c.do(ctx, call{
		method: http.MethodPost, path: path, body: body, want: []int{http.StatusCreated}, into: &session, anonymous: true,
	}); err != nil {
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
	err := c.renewSession(ctx, "/v1/sessions/refresh", map[string]string{"refreshToken": c.session.RefreshToken})
	if Status(err) == http.StatusUnauthorized { // the session has ended
		err = c.open(ctx)
	}
	return c.session.AccessToken, err
}

// Session is the session the client calls with.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Logout ends the session.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/sessions/current", want: []int{http.StatusNoContent}})
	return err
}

// Me is the account the client calls as.
func (c *Client) Me(ctx context.Context) (User, error) {
	var user User
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/users/me", want: []int{http.StatusOK}, into: &user})
	return user, err
}

// Rename changes the name of the account.
func (c *Client) Rename(ctx context.Context, name string) (User, error) {
	var user User
	_, err := c.do(ctx, call{
		method: http.MethodPatch, path: "/v1/users/me", body: map[string]string{"name": name}, want: []int{http.StatusOK}, into: &user,
	})
	return user, err
}

// UserByEmail finds an account, as an admin; ok is false when there is none.
func (c *Client) UserByEmail(ctx context.Context, email string) (user User, ok bool, err error) {
	var list List[User]
	_, err = c.do(ctx, call{
		method: http.MethodGet, path: "/v1/users", query: url.Values{"email": {email}}, want: []int{http.StatusOK}, into: &list,
	})
	if err != nil || len(list.Items) == 0 {
		return User{}, false, err
	}
	return list.Items[0], true, nil
}

// ChangeRoles gives an account exactly these roles, as an admin.
func (c *Client) ChangeRoles(ctx context.Context, userID string, roles ...string) (User, error) {
	var user User
	_, err := c.do(ctx, call{
		method: http.MethodPut, path: "/v1/users/" + pathSegment(userID) + "/roles", body: map[string][]string{"roles": roles},
		want: []int{http.StatusOK}, into: &user,
	})
	return user, err
}
