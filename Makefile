.DEFAULT_GOAL := help
.PHONY: help run stop test check bless bench build clean

help: ## List the targets
	@awk -F ': ## ' '/^[a-z]+: ## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start PostgreSQL and the service on http://127.0.0.1:8080/, import the airports; Ctrl-C stops
	@dev/run

stop: ## Stop the PostgreSQL a killed run left behind; the data stays
	@dev/postgres stop

test: ## Run all tests against a PostgreSQL of their own
	@dev/test

check: ## Lint the scripts and the code, compare the API document with it
	@dev/check

bless: ## Write the API document anew from the code
	@dev/openapi bless

bench: ## Measure the import against psql's \copy
	@dev/bench

build: ## Build the release binary
	cargo build --release --locked

clean: ## Delete the build, and the databases and archive of this working copy
	@dev/clean
