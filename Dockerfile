# The images of Caravan, from source: a target per program.
#
#   docker build --target users -t caravan/users:dev .
#   docker build --target daprd -t caravan/daprd:dev .    (the sidecar; the first time it takes minutes)
#
# Any builder will do: the classic one of a plain Docker engine or BuildKit. The sidecar's stages and the log store's come last because
# the classic builder also builds every stage above the target. "go run ./dapr images" makes the same images from binaries
# built on this machine, without any base image; a test holds the two equal.
ARG GO_IMAGE=golang:1.26-bookworm
ARG VERSION=dev
ARG REVISION=unknown

FROM ${GO_IMAGE} AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
RUN mkdir /empty
# A layer of its own: modules are downloaded again only when these files change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG REVISION
RUN go build -trimpath -o /out/ \
      -ldflags "-s -w -X caravan/internal/version.version=${VERSION} -X caravan/internal/version.revision=${REVISION}" \
      ./services/... ./gateway ./dapr/launcher/embeddedbroker ./dapr/launcher/mailbox ./dapr/launcher/collector ./dapr

FROM scratch AS base
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532

FROM base AS users
LABEL org.opencontainers.image.title=caravan/users
# Volumes take the owner of the folder they are mounted on.
COPY --from=build --chown=65532:65532 /empty /keys
COPY --from=build /out/users /users
ENTRYPOINT ["/users"]

FROM base AS products
LABEL org.opencontainers.image.title=caravan/products
COPY --from=build /out/products /products
ENTRYPOINT ["/products"]

FROM base AS orders
LABEL org.opencontainers.image.title=caravan/orders
COPY --from=build /out/orders /orders
ENTRYPOINT ["/orders"]

FROM base AS payments
LABEL org.opencontainers.image.title=caravan/payments
COPY --from=build /out/payments /payments
ENTRYPOINT ["/payments"]

FROM base AS notifications
LABEL org.opencontainers.image.title=caravan/notifications
COPY --from=build /out/notifications /notifications
ENTRYPOINT ["/notifications"]

FROM base AS gateway
LABEL org.opencontainers.image.title=caravan/gateway
COPY --from=build /out/gateway /gateway
ENTRYPOINT ["/gateway"]

FROM base AS embeddedbroker
LABEL org.opencontainers.image.title=caravan/embeddedbroker
COPY --from=build --chown=65532:65532 /empty /data
COPY --from=build /out/embeddedbroker /embeddedbroker
ENTRYPOINT ["/embeddedbroker"]

FROM base AS mailbox
LABEL org.opencontainers.image.title=caravan/mailbox
COPY --from=build --chown=65532:65532 /empty /data
COPY --from=build /out/mailbox /mailbox
ENTRYPOINT ["/mailbox"]

FROM base AS collector
LABEL org.opencontainers.image.title=caravan/collector
COPY --from=build /out/collector /collector
ENTRYPOINT ["/collector"]

# The command line: it fills the shop. It expects the repository around it.
FROM base AS dapr
LABEL org.opencontainers.image.title=caravan/dapr
WORKDIR /caravan
COPY --from=build /src/dapr/dapr.yaml /caravan/dapr/dapr.yaml
COPY --from=build /src/services/products/catalogue.csv /caravan/services/products/catalogue.csv
COPY --from=build /out/dapr /dapr
ENTRYPOINT ["/dapr"]

FROM ${GO_IMAGE} AS build-daprd
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
COPY dapr/daprd/go.mod dapr/daprd/go.sum ./
RUN go mod download
COPY dapr/daprd .
RUN go build -trimpath -ldflags "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=1.18.1" -o /out/daprd .

FROM base AS daprd
LABEL org.opencontainers.image.title=caravan/daprd
WORKDIR /caravan
COPY --from=build --chown=65532:65532 /empty /caravan/.dapr/data
COPY --from=build-daprd /out/daprd /daprd
# Not ENTRYPOINT: Dapr's injector puts /daprd before the arguments itself.
CMD ["/daprd"]

# The store for log lines and spans. It comes after the sidecar because few need it.
FROM ${GO_IMAGE} AS build-logstore
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
COPY dapr/observe/go.mod dapr/observe/go.sum ./
RUN go mod download
COPY dapr/observe .
RUN go build -trimpath -o /out/victoria-logs \
      -ldflags "-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-logs-v1.52.1" \
      github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs

FROM base AS victoria-logs
LABEL org.opencontainers.image.title=caravan/victoria-logs
COPY --from=build --chown=65532:65532 /empty /data
# The store cannot ask itself whether it works. The collector can.
COPY --from=build /out/collector /collector
COPY --from=build-logstore /out/victoria-logs /victoria-logs
ENTRYPOINT ["/victoria-logs"]
