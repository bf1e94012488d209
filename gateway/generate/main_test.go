package main

import (
	"os"
	"strings"
	"testing"
)

// routes.yaml must equal what the generator gives. If not, it is outdated or was changed by hand.
func TestTheRoutesAreGeneratedFromTheDocument(t *testing.T) {
	source, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("gateway/routes.yaml is not what gateway/openapi.yaml gives. Run: go generate ./gateway/...")
	}
}

const example = `
security: [{ bearer: [] }]
tags:
  - { name: things, description: What there is, x-route: { app: things } }
  - { name: probes, description: Health, x-route: { app: gateway } }
paths:
  /livez:
    get: { tags: [probes], security: [], x-route: { rate: none } }
  /things/{id}:
    parameters: [{ $ref: "#/components/parameters/Id" }]
    get: { tags: [things], x-route: { long: { parameter: wait, max: 10s } } }
    put: { tags: [things], security: [{}, { bearer: [] }], parameters: [{ name: Idempotency-Key, in: header }] }
    delete: { tags: [things], x-route: { app: others } }
  /things:
    parameters: [{ $ref: "#/components/parameters/Key" }]
    post: { tags: [things], security: [{ bearer: [things:write] }], x-route: { body: 1KiB, timeout: 20s } }
    patch: { tags: [things], x-route: { retry: none } }
  /things/all:
    get: { tags: [things], x-route: { retry: none } }
components:
  parameters:
    Id: { name: id, in: path }
    Key: { name: Idempotency-Key, in: header }
`

func TestGenerate(t *testing.T) {
	got, err := generate([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	_, got2, _ := strings.Cut(string(got), head)
	const want = `
apps: [things, others]

routes:
  # things: What there is
  - {method: GET, path: '/things/{id}', app: things, access: signedIn, retry: safe, long: {max: 10s, parameter: wait}}
  - {method: PUT, path: '/things/{id}', app: things, access: optional, body: 16KiB, retry: keyed}
  - {method: DELETE, path: '/things/{id}', app: others, access: signedIn}
  - {method: POST, path: /things, app: things, access: ['things:write'], body: 1KiB, timeout: 20s, retry: keyed}
  - {method: PATCH, path: /things, app: things, access: signedIn, body: 16KiB}
  - {method: GET, path: /things/all, app: things, access: signedIn}

  # probes: Health
  - {method: GET, path: /livez, app: gateway, access: public, rate: none}
`
	if got2 != want {
		t.Errorf("the routes are\n%s\nwant\n%s", got2, want)
	}
}

// Each fault of the document is found, and the message names the operation.
func TestGenerateRefuses(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no tag":                 {"tags: [things], x-route: { long:", "x-route: { long:", "GET /things/{id}: it needs one of the tags"},
		"an unknown tag":         {"[probes]", "[probe]", "GET /livez: it needs one of the tags"},
		"no app":                 {"x-route: { app: gateway }", "x-route: {}", "GET /livez: parsing the routes: line 6: a route needs a app"},
		"an unknown key":         {"rate: none", "limit: none", `GET /livez: parsing the routes: line 6: unknown key "limit"`},
		"a wrong value":          {"body: 1KiB", "body: 1MiB", `POST /things: parsing the routes: line 6: body "1MiB" must be`},
		"an access of its own":   {"rate: none", "access: public", "GET /livez: x-route cannot have access"},
		"a retry of its own":     {"patch: { tags: [things], x-route: { retry: none }", "patch: { tags: [things], x-route: { retry: safe }", "PATCH /things: retry of x-route can only be none"},
		"a choice of tokens":     {"[{ bearer: [things:write] }]", "[{ bearer: [a:b] }, { bearer: [c:d] }]", "POST /things: security must be"},
		"another kind of token":  {"[{ bearer: [things:write] }]", "[{ basic: [] }]", "POST /things: security must be"},
		"an empty requirement":   {"[{ bearer: [things:write] }]", "[{}]", "POST /things: security must be"},
		"permissions, or nobody": {"security: [{}, { bearer: [] }]", "security: [{}, { bearer: [a:b] }]", "PUT /things/{id}: security must be"},
		"no YAML":                {"tags:", "tags: [", "reading the OpenAPI document"},
		"a collision":            {"/things/all:", "/things/{name}:", "conflicts with"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(example, c.from) {
				t.Fatalf("the example lacks %q", c.from)
			}
			if got, err := generate([]byte(strings.Replace(example, c.from, c.to, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\n%v; want %q", got, err, c.want)
			}
		})
	}
}
