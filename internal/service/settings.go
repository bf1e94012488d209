package service

import (
	"time"

	"caravan/internal/subscription"
)

// Settings is the configuration that every program has. The keys are the tags joined by dots: feed.pull_interval is the
// environment variable CARAVAN_FEED_PULL_INTERVAL and the flag --feed.pull_interval.
type Settings struct {
	App   AppSettings   `mapstructure:"app"`
	Dapr  DaprSettings  `mapstructure:"dapr"`
	Log   LogSettings   `mapstructure:"log"`
	HTTP  HTTPSettings  `mapstructure:"http"`
	Drain DrainSettings `mapstructure:"drain"`
	Store StoreSettings `mapstructure:"store"`
	Feed  FeedSettings  `mapstructure:"feed"`
	Auth  AuthSettings  `mapstructure:"auth"`

	Heartbeat subscription.Settings `mapstructure:"heartbeat"`
}

// AppSettings are the address and the app id of the program.
type AppSettings struct {
	ID    string `mapstructure:"id" env:"APP_ID" help:"Dapr app id; the program's name if empty" validate:"max=64"`
	Host  string `mapstructure:"host" default:"127.0.0.1" help:"address to listen on" validate:"required"`
	Port  int    `mapstructure:"port" env:"APP_PORT" default:"0" help:"port to listen on; 0 takes a free one" validate:"min=0,max=65535"`
	Token string `mapstructure:"token" env:"APP_API_TOKEN" secret:"true" help:"what the sidecar must present in dapr-api-token"`
}

// DaprSettings are the addresses of the sidecar.
type DaprSettings struct {
	Host     string `mapstructure:"host" default:"127.0.0.1" help:"the sidecar's host" validate:"required"`
	HTTPPort int    `mapstructure:"http_port" env:"DAPR_HTTP_PORT" default:"3500" help:"the sidecar's HTTP port" validate:"min=1,max=65535"`
	GRPCPort int    `mapstructure:"grpc_port" env:"DAPR_GRPC_PORT" default:"50001" help:"the sidecar's gRPC port" validate:"min=1,max=65535"`
	Token    string `mapstructure:"token" env:"DAPR_API_TOKEN" secret:"true" help:"what the sidecar asks of its app"`
}

// LogSettings describe what is logged.
type LogSettings struct {
	Level string `mapstructure:"level" default:"info" help:"debug, info, warn or error" validate:"oneof=debug info warn error"`
}

// HTTPSettings limit what a client may use.
type HTTPSettings struct {
	ReadTimeout    time.Duration `mapstructure:"read_timeout" default:"30s" help:"for receiving a whole request" validate:"min=1s"`
	RequestTimeout time.Duration `mapstructure:"request_timeout" default:"15s" help:"for handling one request; streams have none" validate:"min=100ms"`
	MaxBody        int64         `mapstructure:"max_body" default:"4194304" help:"largest request body in bytes; public routes read less" validate:"min=1024"`
	MaxHeader      int           `mapstructure:"max_header" default:"32768" help:"largest request header in bytes" validate:"min=4096"`
}

// DrainSettings describe how the program stops.
type DrainSettings struct {
	Delay   time.Duration `mapstructure:"delay" default:"0s" help:"between unready and no longer accepting: load balancers notice, and the sidecar's connections are closed with an answer" validate:"min=0"`
	Timeout time.Duration `mapstructure:"timeout" default:"10s" help:"for requests in flight to finish" validate:"min=0"`
}

// StoreSettings adapt the writing of documents to the store.
type StoreSettings struct {
	WriteBatch int `mapstructure:"write_batch" default:"32" help:"documents that a call writes at most" validate:"min=1,max=256"`
}

// FeedSettings are about the change feed, which prevents the loss of events.
type FeedSettings struct {
	PullInterval time.Duration `mapstructure:"pull_interval" default:"20s" help:"between two reads of a producer's feed" validate:"min=10ms"`
	Settle       time.Duration `mapstructure:"settle" default:"45s" help:"how long a write may lag behind its index entry, as a clock that is ahead sees it" validate:"min=10ms"`
	Bucket       time.Duration `mapstructure:"bucket" default:"10s" help:"length of one index bucket; the same in all programs" validate:"min=100ms"`
}

// AuthSettings describe whose access tokens are accepted.
type AuthSettings struct {
	Issuer   string `mapstructure:"issuer" default:"caravan" help:"issuer of access tokens" validate:"required"`
	Audience string `mapstructure:"audience" default:"caravan-api" help:"audience of access tokens" validate:"required"`
	KeysApp  string `mapstructure:"keys_app" default:"users" help:"app that serves the verification keys" validate:"required"`
	KeysPath string `mapstructure:"keys_path" default:"/internal/keys" help:"path at which it serves them" validate:"required,startswith=/"`
}
