# make run and make test are all the set-up there is; make help lists the rest.

GO ?= go
# Where Go's own instructions put it, for accounts without it on their PATH.
export PATH := $(PATH):/usr/local/go/bin
# git refuses to describe a clone that another account owns; the build needn't ask.
export GOFLAGS += -buildvcs=false

SOURCES := cmd internal migrations ui

.DEFAULT_GOAL := help
.PHONY: help run test lint build generate verify bench screenshots docker clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and serve on http://localhost:8080
	@scripts/install.sh run
	@$(MAKE) --no-print-directory build
	@exec bin/platform serve

test: ## install what is missing and run every test, the browser's too
	@scripts/install.sh test
	$(GO) test -race -timeout 30m ./...
	$(GO) test -race -tags portable ./internal/sfu/wire

lint: verify ## check format, vet, staticcheck, money without floats and that generated code is fresh
	@unformatted=$$(gofmt -l $(SOURCES)); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags portable ./internal/sfu/wire
	GOOS=darwin $(GO) vet ./internal/sfu/wire
	GOOS=windows $(GO) vet ./internal/sfu/wire
	$(GO) tool staticcheck ./...
	$(GO) test -run '^(TestMoneyHasNoFloats|TestFloatsAreFound)$$' ./cmd/platform

build: ## build bin/platform, a static binary
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/platform ./cmd/platform

generate: ## generate Go from the templ files
	$(GO) tool templ generate -path ui -log-level error

verify: ## fail if generated code does not match its source
	@sums() { find ui -name '*_templ.go' -exec cksum {} + | sort; }; \
	before=$$(sums); \
	$(GO) tool templ generate -path ui -log-level error || exit 1; \
	if [ "$$before" != "$$(sums)" ]; then \
		echo "Generated code was out of date. It is fresh now: look at it and commit it." >&2; exit 1; \
	fi

bench: ## measure against a naive forwarder: one table, some 10 minutes (ARGS=-quick for one)
	@scripts/install.sh run
	@$(MAKE) --no-print-directory build
	@bin/platform bench suite $(ARGS)

screenshots: ## take the README's screenshots anew, in docs/screenshots
	@scripts/install.sh test
	@$(MAKE) --no-print-directory build
	HIBARI_SCREENSHOTS=$(CURDIR)/docs/screenshots $(GO) test -count=1 -run '^TestScreenshots$$' ./cmd/platform/e2e

docker: ## build the container image hibari
	docker build -t hibari .

clean: ## remove what was built; data/ stays
	rm -rf bin cmd/platform/*/testdata/node_modules
