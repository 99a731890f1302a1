# make help lists what there is.
export CGO_ENABLED := 0
GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN     := bin/emet
LINT    := $(GO) tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: ## build bin/emet, one static binary
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/emet

.PHONY: examples
examples: ## build the example programs for WASM
	@GOOS=wasip1 GOARCH=wasm $(GO) build -trimpath -ldflags '-s -w' -o examples/render/render.wasm ./examples/render
	@GOOS=wasip1 GOARCH=wasm $(GO) build -trimpath -ldflags '-s -w' -o examples/echo/echo.wasm ./examples/echo

.PHONY: demo
demo: build examples ## render a picture over the market: a chain, a requestor and three providers
	@$(BIN) demo --program examples/render/render.wasm

.PHONY: run
run: build ## start a local network for developing clients
	@$(BIN) dev

.PHONY: test
test: build examples ## run every test
	@$(GO) test -timeout 20m ./...

.PHONY: check
check: ## format, vet, lint and race tests (the race detector needs cgo)
	@test -z "$$(gofmt -l $$(git ls-files '*.go' | grep -v '^api/gen/'))" || { gofmt -l .; exit 1; }
	@$(GO) vet ./...
	@$(LINT) run ./...
	@CGO_ENABLED=1 $(GO) test -race -timeout 20m ./domain/... ./eventschemas/... ./projections/... ./adapters/store/... ./adapters/effects/...

.PHONY: lint
lint: ## run the linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go' | grep -v '^api/gen/'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	@$(GO) vet ./...
	@$(LINT) run ./...

.PHONY: golden
golden: ## rewrite the golden files; read the diff before committing it
	@$(GO) test ./eventschemas ./api/... ./cmd/... -update

.PHONY: bench
bench: build examples ## measure; one line a figure
	@$(BIN) bench

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin demo-out examples/*/*.wasm
