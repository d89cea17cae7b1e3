# pgvip: everything a developer runs. `make` alone lists the targets.
#
# Prerequisites: Debian 12 (or a relative with apt), root, and Go 1.26. The rest
# is fetched: Debian packages by name (internal/lab/install-deps.sh), Go modules
# through the module proxy, npm packages by their lock file.

# Recipes need nothing beyond POSIX sh.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
# Prerequisites are steps, in their order.
.NOTPARALLEL:

# Where Go's own instructions put it, when PATH lacks it (as root's often does).
GO      ?= $(shell command -v go || echo /usr/local/go/bin/go)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod

# What the lab and the benchmark run, the clients that tests drive, and the C
# compiler that the race detector needs: names of Debian 12's packages.
PACKAGES := postgresql-15 postgresql-client-15 patroni \
	etcd-server etcd-client python3-etcd pgbouncer haproxy \
	python3-psycopg2 python3-psycopg python3-asyncpg nodejs iproute2 util-linux procps \
	keepalived nftables tcpdump ca-certificates \
	gcc libc6-dev
# npm fetches PostgreSQL 18 and node-postgres (internal/lab/npm). Other packages
# of nodejs than Debian's bring an npm and refuse Debian's.
PACKAGES += $(if $(shell PATH="$$PATH:/usr/local/bin:/usr/bin" command -v npm),,npm)

# Time for each package's tests. The whole has to stay below 25 minutes on two
# cores.
TEST_TIMEOUT ?= 20m
# Packages under test.
PKG ?= ./...
# Time for random conversations in each mode, and their seed.
TIME ?= 2m
SEED ?=
# Simulated histories of the virtual IP's ownership.
HISTORIES ?= 100000
# Time for each fuzz target.
FUZZTIME ?= 30s

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "; printf "usage: make TARGET [NAME=value]\n"} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: go ## build the static binary bin/pgvip
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pgvip ./cmd/pgvip

# A demo that nobody watches proves its steps once and ends.
.PHONY: demo
demo: deps build ## show the main job on a real cluster (once, when not on a terminal)
	@if [ -t 1 ]; then exec bin/pgvip demo $(ARGS); else exec bin/pgvip demo --once $(ARGS); fi

.PHONY: bench
bench: deps build ## pgvip beside its rivals: QUICK=1, PGBOUNCER=/path/to/pgbouncer
	$(GO) run ./bench/cmd/pgvip-bench $(if $(QUICK),-quick) $(if $(PGBOUNCER),-pgbouncer $(PGBOUNCER)) $(ARGS)

.PHONY: failover
failover: deps build ## break a real cluster behind pgvip: SCENARIO=18,20 MODE=transaction REPEAT=3 RIVAL=1
	$(GO) build -o bin/pgvip-failover ./bench/cmd/pgvip-failover
	bin/pgvip-failover -pgvip bin/pgvip $(if $(SCENARIO),-scenario $(SCENARIO)) $(if $(MODE),-mode $(MODE)) \
		$(if $(REPEAT),-repeat $(REPEAT)) $(if $(RIVAL),-rival haproxy) $(ARGS)

.PHONY: vip
vip: deps build ## break a LAN with two pgvip: SCENARIO=1,14/etcd-frozen INTEROP=all REPEAT=3 TIME=10m (bad network)
	$(GO) build -o bin/pgvip-vip ./bench/cmd/pgvip-vip
	bin/pgvip-vip -pgvip bin/pgvip $(if $(SCENARIO),-scenario $(SCENARIO)) $(if $(INTEROP),-interop $(INTEROP)) \
		$(if $(REPEAT),-repeat $(REPEAT)) $(if $(filter file,$(origin TIME)),,-soak $(TIME)) $(ARGS)

##@ Check

.PHONY: test
test: deps build ## all tests, with the race detector: unit and integration; PKG=./wire for one
	PGVIP_LAB=required $(GO) test -race -timeout $(TEST_TIMEOUT) $(ARGS) $(PKG)
	$(if $(filter ./...,$(PKG)),PGVIP_TEST_TLS=1 PGVIP_LAB=required $(GO) test -race -timeout $(TEST_TIMEOUT) ./proxy # every session in TLS)

.PHONY: unit
unit: go ## only the tests that need no cluster
	PGVIP_LAB=off $(GO) test -timeout 2m $(ARGS) $(PKG)

.PHONY: lint
lint: go ## gofmt, vet and staticcheck, doc comments included
	@bad=$$($$($(GO) env GOROOT)/bin/gofmt -s -l .) && [ -z "$$bad" ] || { echo "gofmt -s wants to change:" $$bad; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck -checks all ./...

# Short in make test; here as long as asked. SEED repeats a run.
.PHONY: soak
soak: deps build ## random conversations beside PostgreSQL in every mode: TIME=2m each, SEED=1
	PGVIP_LAB=required PGVIP_SOAK=$(TIME) PGVIP_SEED=$(SEED) PGVIP_BINARY=$(CURDIR)/bin/pgvip \
		$(GO) test -count=1 -v -timeout 24h -run '^TestRandomConversations$$' $(ARGS) ./internal/e2e

.PHONY: large
large: deps build ## a Bind of 1 GB, the most that PostgreSQL takes, and a result of 1 GB that nobody reads
	PGVIP_LAB=required PGVIP_LARGE=1 PGVIP_BINARY=$(CURDIR)/bin/pgvip \
		$(GO) test -count=1 -v -timeout 20m -run '^(TestLargeBind|TestSlowReaderStallsNobody)$$' $(ARGS) ./internal/e2e

# The real machine of the virtual IP's ownership against random faults in virtual
# time. Few in make test; SEED repeats a run, and with HISTORIES=1 shows one history.
.PHONY: histories
histories: go ## who owns the virtual IP, in HISTORIES=100000 simulated histories; SEED=1
	$(GO) test -count=1 -v -timeout 24h -run '^TestHistories$$' ./vrrp/owner -histories $(HISTORIES) -seed $(or $(SEED),$$(date +%s))

.PHONY: fuzz
fuzz: go ## each fuzz target for FUZZTIME=30s; PKG=./wire for one package
	@GO="$(GO)" tools/fuzz.sh $(FUZZTIME) $(PKG)

##@ Set up

.PHONY: deps
deps: go ## install the missing packages of Debian and npm; starts none of their daemons
	@internal/lab/install-deps.sh $(PACKAGES)
	@internal/lab/install-npm.sh

# Since Go 1.21 an older go fetches the version that go.mod asks for, unless
# that is switched off: so ask the module what it gets.
.PHONY: go
go:
	@command -v $(GO) >/dev/null || { echo "make: Go 1.26 is needed and '$(GO)' is not there: see https://go.dev/doc/install" >&2; exit 1; }
	@$(GO) list -m >/dev/null 2>&1 || { echo "make: Go 1.26 is needed, found: $$($(GO) version 2>&1 | head -1)" >&2; exit 1; }

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin
