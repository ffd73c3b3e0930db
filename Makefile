# Shardline. `make` lists the targets.

SHELL       := bash
.SHELLFLAGS := -o pipefail -ec

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# The race detector needs a C compiler; without one the tests run all the same.
RACE     := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race)
PROMTOOL := $(or $(wildcard .peers/promtool/promtool),$(shell command -v promtool 2>/dev/null))
FUZZTIME ?= 10s
N        ?= 1000
SEED     ?= 1

.DEFAULT_GOAL := help
.PHONY: help build demo test test-peers check format-check vet staticcheck tidy-check deploy-check bench simulate mutants spec spec-large fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/shardline, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/shardline ./cmd/shardline

demo: build ## three accounts, ten receivers, a killed worker, a split: about 30 s
	bin/shardline demo

test: ## every test that needs Go alone, under the race detector
	@$(if $(RACE),,echo "make test: no C compiler, so the race detector is off")
	$(GO) test $(RACE) -timeout 15m ./...

test-peers: ## the suites against servers that others wrote (installed into .peers/; docs/peers.md)
	internal/peers/run

check: format-check vet staticcheck tidy-check deploy-check ## format, vet, staticcheck, go.mod, deploy files
	@echo "make check: all is well"

format-check:
	@echo "gofmt -l"
	@files=$$(find . -name '*.go' -not -path './.*/*' -exec gofmt -l {} +); \
	  if [ -n "$$files" ]; then echo "not formatted (gofmt -w):"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

tidy-check:
	$(GO) mod tidy -diff

deploy-check:
ifneq ($(PROMTOOL),)
	cd deploy/prometheus && $(abspath $(PROMTOOL)) check rules shardline.rules.yaml
	cd deploy/prometheus && $(abspath $(PROMTOOL)) test rules shardline.rules.test.yaml
else
	@echo "alert rules SKIPPED: promtool is not installed (internal/peers/promtool, or your package of prometheus)"
endif
	$(GO) test -count=1 -v -run 'TestUnit|TestPolicies|TestRules' ./deploy | grep -Ev '^(=== |    --- PASS)'

bench: build ## deliveries per second beside a bare HTTP client
	bin/shardline bench fanout

simulate: ## N=1000 SEED=1: so many seeded histories of several workers, from that seed on
	SIMULATE_N=$(N) SIMULATE_SEED=$(SEED) $(GO) test -count=1 -v -timeout 0 -run '^TestHistories$$' ./internal/simulation \
	  | grep -Ev '^(=== | +--- PASS)'

mutants: ## deliberate defects, one at a time: the simulation has to catch each
	$(GO) run ./internal/simulation/mutants

spec: ## the models of what is saved, and that their broken variants are found (docs/spec; a JDK and Maven)
	docs/spec/run

spec-large: ## the same with larger bounds too: hours
	docs/spec/run -large

fuzz: ## FUZZTIME=10s: each fuzz target for that long
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' cmd checkpoint consumers internal metrics pipeline | xargs -r -n 1 dirname | sort -u); do \
	  for target in $$($(GO) test -list '^Fuzz' ./$$dir | grep '^Fuzz'); do \
	    echo "fuzz ./$$dir $$target $(FUZZTIME)"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$dir; \
	  done; \
	done

clean: ## what the targets above left behind
	rm -rf bin .demo .peers
