package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"caravan/gateway/route"
	"caravan/internal/problem"
	"caravan/internal/token"
)

// fakeVerifier accepts only the token "good.to.ken".
type fakeVerifier struct{ asked []string }

func (f *fakeVerifier) Verify(_ context.Context, raw string) (token.Claims, error) {
	f.asked = append(f.asked, raw)
	switch raw {
	case "good.to.ken":
		return token.Claims{Subject: "u1", Permissions: []string{"ops:read"}}, nil
	case "old.to.ken":
		return token.Claims{}, token.ErrExpired
	case "no.key.s":
		return token.Claims{}, token.ErrKeysUnavailable
	}
	return token.Claims{}, token.ErrInvalid
}

func TestIdentify(t *testing.T) {
	for name, tc := range map[string]struct {
		headers   []string
		status    int
		challenge string
		unasked   bool
	}{
		"good":               {headers: []string{"Bearer good.to.ken"}},
		"lower-case scheme":  {headers: []string{"bearer good.to.ken"}},
		"none":               {status: 401, challenge: challengeMissing, unasked: true},
		"two":                {headers: []string{"Bearer good.to.ken", "Bearer good.to.ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"joined":             {headers: []string{"Bearer good.to.ken, Bearer good.to.ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"basic":              {headers: []string{"Basic ZGFwci1hcHAtaWQ6dXNlcnM="}, status: 401, challenge: challengeInvalid, unasked: true},
		"no scheme":          {headers: []string{"good.to.ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"double space":       {headers: []string{"Bearer  good.to.ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"tab":                {headers: []string{"Bearer\tgood.to.ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"empty":              {headers: []string{"Bearer "}, status: 401, challenge: challengeInvalid, unasked: true},
		"padding":            {headers: []string{"Bearer good.to.ken=="}, status: 401, challenge: challengeInvalid, unasked: true},
		"homoglyph dot":      {headers: []string{"Bearer good․to․ken"}, status: 401, challenge: challengeInvalid, unasked: true},
		"huge":               {headers: []string{"Bearer " + strings.Repeat("a", token.MaxLength+1)}, status: 401, challenge: challengeInvalid, unasked: true},
		"forged":             {headers: []string{"Bearer forged.to.ken"}, status: 401, challenge: challengeInvalid},
		"expired":            {headers: []string{"Bearer old.to.ken"}, status: 401, challenge: challengeInvalid},
		"keys not available": {headers: []string{"Bearer no.key.s"}, status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &fakeVerifier{}
			r := httptest.NewRequest("GET", "/v1/wallet?access_token=good.to.ken", nil)
			r.AddCookie(&http.Cookie{Name: "access_token", Value: "good.to.ken"})
			r.Header["Proxy-Authorization"] = []string{"Bearer good.to.ken"}
			if tc.headers != nil {
				r.Header["Authorization"] = tc.headers
			}
			claims, err := Identify(r, verifier)
			if tc.unasked && len(verifier.asked) > 0 {
				t.Errorf("the verifier was asked about %q", verifier.asked)
			}
			if tc.status == 0 {
				if err != nil || claims.Subject != "u1" {
					t.Errorf("got %+v, %v", claims, err)
				}
				return
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) || problem.From(err).Status != tc.status || refusal.Challenge != tc.challenge {
				t.Fatalf("got %v, want %d with challenge %q", err, tc.status, tc.challenge)
			}
			if tc.status == 401 && refusal.Problem().Detail != "A valid access token is required." {
				t.Errorf("the answer tells refusals apart: %s", refusal.Problem().Detail)
			}
			for _, header := range tc.headers {
				if strings.Contains(err.Error(), header) && len(header) > 8 {
					t.Errorf("the error holds the credentials: %v", err)
				}
			}
		})
	}
}

func TestPermit(t *testing.T) {
	claims := token.Claims{Subject: "u1", Permissions: []string{"ops:read", "orders:refund"}}
	for name, tc := range map[string]struct {
		access route.Access
		denied bool
	}{
		"public":         {access: route.Access{Kind: route.Public}},
		"optional":       {access: route.Access{Kind: route.Optional}},
		"signed in":      {access: route.Access{Kind: route.SignedIn}},
		"one permission": {access: route.Access{Kind: route.Permitted, Permissions: []string{"ops:read"}}},
		"both":           {access: route.Access{Kind: route.Permitted, Permissions: []string{"ops:read", "orders:refund"}}},
		"one missing":    {access: route.Access{Kind: route.Permitted, Permissions: []string{"ops:read", "ops:write"}}, denied: true},
		"part of a name": {access: route.Access{Kind: route.Permitted, Permissions: []string{"orders:refund:any"}}, denied: true},
		"undeclared":     {access: route.Access{}, denied: true},
	} {
		err := Permit(tc.access, claims)
		if tc.denied != (err != nil) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && problem.From(err).Status != 403 {
			t.Errorf("%s: status %d", name, problem.From(err).Status)
		}
	}
}
