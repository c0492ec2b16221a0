# Pithead: one target per thing people do. The work is in scripts/, which also run on their own.
.DEFAULT_GOAL := help
.PHONY: help demo test quick check bench fuzz chaos demo-models fmt
PORT ?= 8080
SCALE ?= small
SECONDS ?= 600
export PORT SCALE

help: ## This list
	@awk -F': ## ' '/^[a-z-]+: ## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## Build and run the whole system with demo data [PORT=8080] [SCALE=small|ordos]; Ctrl-C ends it
	@exec scripts/demo.sh

test: ## All tests: SQLite and PostgreSQL, a real browser, real third-party clients
	@exec scripts/test.sh

quick: ## Unit tests of server and app format on SQLite only, for between two changes [TESTS=part of a name]
	@exec scripts/quick.sh $(TESTS)

check: ## Format, lints, documentation and dependency rules, without running tests
	@exec scripts/check.sh

bench: ## Speed and memory of a release build, against the limits in docs/BENCHMARKS.md
	@exec scripts/bench.sh

fuzz: ## Damaged models, documents and requests against checks and parsers [SECONDS=600] [SEED=…]
	@exec scripts/fuzz.sh $(SECONDS) $(SEED)

chaos: ## Kills, locks, cuts, wrong clocks and a full disk while clients push, order, pay and deploy [SECONDS=600]
	@exec scripts/chaos.sh $(SECONDS)

demo-models: ## Train the demo apps' models again from their scripts
	@exec scripts/demo-models.sh

fmt: ## Format the Rust code
	@cargo fmt --all
