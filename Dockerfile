# pgvip in an image with nothing else: one static binary, no shell.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t pgvip .
#   docker run -v /etc/pgvip:/etc/pgvip:ro -p 5000:5000 -p 5001:5001 -p 7000:7000 pgvip
#
# The ports need no capability. The virtual IP does: it lives on the host's
# network, and an unprivileged user gets capabilities only from the container's
# own set, so run it with
#   --network host --user 0:0 --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW
# and with NET_BIND_SERVICE too if a port below 1024 is configured.

FROM golang:1.26 AS build
WORKDIR /src
# Modules first: they change less often than the code, and this layer is kept.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /pgvip ./cmd/pgvip

FROM scratch
# Certificate authorities, for an etcd or a PostgreSQL with a public certificate.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /pgvip /pgvip
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# 5000 primary, 5001 replicas, 7000 operators.
EXPOSE 5000 5001 7000
# Drains: the orchestrator's grace period must be longer than the drain timeout.
STOPSIGNAL SIGTERM
# /readyz, by the binary itself: there is nothing else here that could ask.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s CMD ["/pgvip", "status", "--ready"]
ENTRYPOINT ["/pgvip"]
CMD ["run"]
