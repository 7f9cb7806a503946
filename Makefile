# What CI does, step by step. `make check` is all of it.
TOOL := go tool -modfile=tools/go.mod
FUZZTIME ?= 10s

.PHONY: check build tools lint vuln test race interop fuzz bench fmt

check: lint vuln test race interop

build:
	go build -trimpath -o bin/bailiwick ./cmd/bailiwick
	CGO_ENABLED=0 go build -trimpath -o bin/bailiwick-sign ./cmd/bailiwick-sign

tools: ; .ci/tools

fmt: ; $(TOOL) golangci-lint fmt

lint:
	go vet ./...
	$(TOOL) golangci-lint run --allow-parallel-runners

vuln: ; .ci/vuln

test: ; go test ./...

race: ; go test -race -timeout 30m $$(go list ./... | grep -v /internal/e2e)

interop: ; cd interop/gotuf && go test ./...

fuzz: ; .ci/fuzz $(FUZZTIME)

bench: ; go test -run '^$$' -bench . -benchmem ./tuf/... ./internal/...
