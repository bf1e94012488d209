package main

import (
	"time"

	"caravan/gateway/cache"
	"caravan/gateway/edge"
	"caravan/gateway/limit"
	"caravan/gateway/proxy"
	"caravan/gateway/route"
	"caravan/internal/clock"
)

// credentialsRate is the rate class of calls that try a password.
const credentialsRate = "credentials"

// settings is the gateway's own configuration.
type settings struct {
	Routes  string                `mapstructure:"routes" help:"file with a route table that replaces the built-in one"`
	Limit   limitSettings         `mapstructure:"limit"`
	Forward forwardSettings       `mapstructure:"forward"`
	Cache   cacheSettings         `mapstructure:"cache"`
	Breaker proxy.BreakerSettings `mapstructure:"breaker"`
	Health  healthSettings        `mapstructure:"health"`
}

// limitSettings are requests per minute of one caller, which may come all at once.
type limitSettings struct {
	Enabled     bool  `mapstructure:"enabled" default:"true" help:"whether callers are limited"`
	Scale       int64 `mapstructure:"scale" default:"1" help:"factor on all limits, for tests and benchmarks" validate:"min=1,max=1000000"`
	Callers     int   `mapstructure:"callers" default:"200000" help:"callers that are remembered at most" validate:"min=64,max=10000000"`
	Public      int64 `mapstructure:"public" default:"1200" help:"public calls per minute and client address" validate:"min=1,max=1000000"`
	SignedIn    int64 `mapstructure:"signed_in" default:"1200" help:"other calls per minute and subject" validate:"min=1,max=1000000"`
	Credentials int64 `mapstructure:"credentials" default:"20" help:"calls with a password per minute and client address or subject" validate:"min=1,max=1000000"`
	Refused     int64 `mapstructure:"refused" default:"120" help:"calls with bad credentials per minute and client address" validate:"min=1,max=1000000"`
}

// forwardSettings limit what is forwarded.
type forwardSettings struct {
	DialTimeout time.Duration `mapstructure:"dial_timeout" default:"1s" help:"for connecting to the sidecar" validate:"min=10ms,max=1m"`
	Proxies     int           `mapstructure:"proxies" default:"0" help:"trusted proxies in front, each of which appends to X-Forwarded-For" validate:"min=0,max=10"`
	Concurrent  int64         `mapstructure:"concurrent" default:"1024" help:"requests forwarded at once" validate:"min=1"`
	Held        int64         `mapstructure:"held" default:"512" help:"long polls held at once, on top of those" validate:"min=1"`
	Streams     int64         `mapstructure:"streams" default:"10000" help:"event streams open at once, on top of those" validate:"min=1"`
}

// cacheSettings limit the memory of the cache. Which answers it keeps, and for how long, is said by the routes.
type cacheSettings struct {
	Enabled bool  `mapstructure:"enabled" default:"true" help:"whether answers to readers without credentials are kept"`
	Entries int   `mapstructure:"entries" default:"10000" help:"most answers" validate:"min=1,max=1000000"`
	Bytes   int64 `mapstructure:"bytes" default:"33554432" help:"most bytes of all answers" validate:"min=65536"`
	Answer  int64 `mapstructure:"answer" default:"1048576" help:"most bytes of an answer; larger ones are not kept" validate:"min=1024,max=16777216"`
}

type healthSettings struct {
	Timeout time.Duration `mapstructure:"timeout" default:"1s" help:"for one service to answer /healthz" validate:"min=10ms,max=10s"`
}

// limiter returns nil if callers are not limited.
func (s limitSettings) limiter(clk clock.Clock) (*limit.Limiter, error) {
	if !s.Enabled {
		return nil, nil
	}
	class := func(name string, perMinute int64) limit.Policy {
		return limit.Policy{Name: name, Quota: perMinute * s.Scale, Window: time.Minute}
	}
	return limit.New([]limit.Policy{
		class(route.PublicRate, s.Public), class(route.SignedInRate, s.SignedIn),
		class(credentialsRate, s.Credentials), class(edge.RefusedRate, s.Refused),
	}, s.Callers, clk)
}

// cache returns nil if nothing is kept.
func (s cacheSettings) cache(clk clock.Clock) *cache.Cache {
	if !s.Enabled {
		return nil
	}
	return cache.New(cache.Settings{Entries: s.Entries, Bytes: s.Bytes, Clock: clk})
}
