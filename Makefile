# make help lists the targets. Checks run through tox-like-test.sh, which says what each needs.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-unknown)
PREFIX  ?= /usr/local
UNITS   ?= /usr/lib/systemd/system
DESTDIR ?=
GO      ?= go
# build tags; nokubernetes leaves pods out, and with them Kubernetes' libraries
TAGS    ?=
# what writes etc/karbor.conf.sample and docs/configuration.md from the option tables: GENCONFIG -sample FILE -reference FILE
GENCONFIG ?= $(GO) run -buildvcs=false ./tools/genconfig
SAMPLE    ?= etc/karbor.conf.sample
REFERENCE ?= docs/configuration.md

PROGRAMS := karbor-protection karborctl
UNIT_FILES := $(notdir $(wildcard etc/systemd/*))
LDFLAGS  := -s -w -X main.version=$(VERSION)
TOX      := ./tox-like-test.sh

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ products

.PHONY: build
build: ## static binaries into bin/; TAGS=nokubernetes leaves pods out
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%)

.PHONY: peers
peers: ## the RPC test server and the load tool into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o bin/rpc-testserver ./test/interop/goserver
	CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o bin/rpc-bench ./tools/rpcbench

.PHONY: demo
demo: ## see it work: a broker, the worker, and a checkpoint from cradle to grave
	@tools/demo/run

.PHONY: config-sample
config-sample: ## regenerate etc/karbor.conf.sample and docs/configuration.md from the option tables
	$(GENCONFIG) -sample $(SAMPLE) -reference $(REFERENCE)

.PHONY: docs
docs: ## check that generated files are fresh and that the documents hold together
	@$(TOX) -e docs

.PHONY: install
install: ## what make build has made, samples and the systemd units, under PREFIX (/usr/local); DESTDIR is honoured
	@test -x bin/karbor-protection -a -x bin/karborctl || { echo 'nothing is built yet: run make build first' >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/karbor/providers.d $(DESTDIR)/etc/logrotate.d $(DESTDIR)$(UNITS) $(DESTDIR)/usr/lib/sysusers.d
	install -d -m 750 $(DESTDIR)/etc/karbor/plans.d
	install -m 755 $(PROGRAMS:%=bin/%) $(DESTDIR)$(PREFIX)/bin/
	install -m 640 etc/karbor.conf.sample $(DESTDIR)/etc/karbor/
	for f in etc/providers.d/*.conf; do \
	  t=$(DESTDIR)/etc/karbor/providers.d/$$(basename $$f); test -e $$t || install -m 640 $$f $$t; done
	install -m 644 etc/logrotate.d/karbor-protection $(DESTDIR)/etc/logrotate.d/
	install -m 644 etc/sysusers.d/karbor.conf $(DESTDIR)/usr/lib/sysusers.d/
	install -D -m 644 etc/prometheus/karbor.rules.yml $(DESTDIR)$(PREFIX)/share/karbor/prometheus/karbor.rules.yml
	install -D -m 644 etc/grafana/karbor.json $(DESTDIR)$(PREFIX)/share/karbor/grafana/karbor.json
	for f in $(UNIT_FILES); do \
	  sed 's|/usr/bin/karbor|$(PREFIX)/bin/karbor|g' etc/systemd/$$f >$(DESTDIR)$(UNITS)/$$f && chmod 644 $(DESTDIR)$(UNITS)/$$f || exit 1; done

.PHONY: uninstall
uninstall: ## remove what make install has put there, but for /etc/karbor
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%) $(DESTDIR)/etc/logrotate.d/karbor-protection \
	  $(DESTDIR)/usr/lib/sysusers.d/karbor.conf $(UNIT_FILES:%=$(DESTDIR)$(UNITS)/%)
	rm -rf $(DESTDIR)$(PREFIX)/share/karbor/prometheus $(DESTDIR)$(PREFIX)/share/karbor/grafana

.PHONY: clean
clean: ## remove what was built and the logs of checks
	rm -rf bin .tox-like

##@ checks

.PHONY: quick
quick: ## gofmt, vet, staticcheck and short tests of the packages that differ from origin/main
	@$(TOX) -e quick

.PHONY: test
test: ## lint, arch, unit, rpc, interop and functional; installs and starts what they need (root)
	@$(TOX) -e lint,arch,unit,rpc,interop,functional

.PHONY: unit functional openstack kubernetes interop rpc rpc4 cluster cluster4 torture soak chaos lint arch cover bench bench-rpc fuzz
unit: ## every package with the race detector, no services
functional: ## against real RabbitMQ (in a container if there is an engine), MariaDB, PostgreSQL, Keystone, Swift and Glance
openstack: ## what functional has, and Cinder, Neutron, Nova and Manila: providers in a whole cloud
kubernetes: ## pods on a real kube-apiserver, built from its modules the first time
interop: ## against Python peers over a real RabbitMQ, TLS included
cluster: ## three RabbitMQ nodes in containers, killed and cut off under load
cluster4: ## the same with RabbitMQ 4, from a newer Debian
torture: ## a RabbitMQ that is restarted, killed and cut off under load
soak: ## RPC servers and clients for SOAK_DURATION (20m) under random faults
rpc: ## the RPC library against a real RabbitMQ
rpc4: ## the same against RabbitMQ 4, from a newer Debian in a container
lint: ## gofmt, vet, staticcheck, shellcheck
arch: ## import rules
cover: ## statement coverage, a line per package
bench: ## benchmarks, beside Python peers
bench-rpc: ## the RPC server beside a raw echo and oslo.messaging in Python, under one load
fuzz: ## every fuzz target for FUZZTIME (20s)
unit functional openstack kubernetes interop rpc rpc4 cluster cluster4 torture soak chaos lint arch cover bench bench-rpc fuzz:
	@$(TOX) -e $@

.PHONY: packages
packages: ## what each package is for, by its own comment
	@$(GO) list -f '{{.ImportPath}}: {{.Doc}}' ./... | sed "s|^$$($(GO) list -m)/||"

##@ services for tests

.PHONY: services-up services-down
services-up: ## start the test services and keep them (prints their addresses)
	@tools/services/up
services-down: ## stop them
	@tools/services/down
