.DEFAULT_GOAL := help
.PHONY: help run run-kafka stop test test-deploy chaos check audit conformance collection bless bench instructions flamegraph overload fuzz build clean

help: ## List the targets
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start PostgreSQL and the service on http://127.0.0.1:8080/, import the airports; Ctrl-C stops
	@dev/run

run-kafka: ## The same with the chunks travelling through a real Kafka, which it starts too
	@dev/run --kafka

stop: ## Stop the PostgreSQL and the Kafka a killed run left behind; the data stays
	@dev/postgres stop
	@dev/kafka stop

test: ## Run all tests against a PostgreSQL and a Kafka of their own, then those of make conformance
	@dev/test
	@dev/conformance

test-deploy: ## Try the image, docker-compose.yml and the playbooks for real, in a Docker of its own (root)
	@dev/test-deploy

chaos: ## Break things in the middle of imports, at more moments than `make test` does and with larger files
	@TARMAC_TEST_SEEDS=$${TARMAC_TEST_SEEDS:-5} TARMAC_TEST_ROWS=$${TARMAC_TEST_ROWS:-20000} \
		TARMAC_TEST_CITIZENS=$${TARMAC_TEST_CITIZENS:-1000000} dev/test --profile chaos --test it -- --nocapture chaos:: kill

check: ## Lint scripts and code, compare the API document with the code and the released one, test the alerts, count instructions
	@dev/check

audit: ## Look into the dependencies: known vulnerabilities, licences, sources, bans
	@dev/audit

conformance: ## Hold the service to its document: linter, fuzzer, generated clients, Postman collection, Swagger UI
	@dev/conformance

collection: ## Make the Postman collection anew from the API document
	@dev/conformance collection

bless: ## Write the API document anew from the code
	@dev/openapi bless

bench: ## Measure beside what one would use instead, and write docs/BENCHMARKS.md; about half an hour
	@dev/bench

instructions: ## Compare how many instructions checking a file takes with benches/instructions.txt
	@dev/instructions

flamegraph: ## Draw where the time of an import and of statistics goes, into docs/flamegraphs (root)
	@dev/flamegraph

overload: ## Put the service under four times the load it can take, and beside 10,000 idle connections
	@dev/overload

fuzz: ## Throw made-up bytes at whatever reads what strangers send, ten minutes for each target
	@dev/fuzz

build: ## Build the release binary
	cargo build --release --locked

clean: ## Delete the build, and the databases, brokers and archive of this working copy
	@dev/clean
