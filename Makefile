# Standpipe. `make help` lists what there is to make.
#
# One archive a folder (build/lib/STAGE.a: everything but main.c), one program a stage, one test program a tests/FOLDER/test_*.c.
# VARIANT=asan builds the same with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan; CC=clang works too.

CC ?= cc
CFLAGS ?= -O2 -g
VARIANT ?=
ALLOCATOR ?= jemalloc
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /usr/lib/systemd/system
V ?=

STAGES := ingest resolve validate store fanout
# jemalloc is the default; glibc and mimalloc are for experiments, and have folders of their own.
B := build$(if $(VARIANT),/$(VARIANT),$(if $(filter-out jemalloc,$(ALLOCATOR)),/$(ALLOCATOR)))
Q := $(if $(V),,@)
comma := ,
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);)

PACKAGES := nng openssl libsecp256k1 libcbor libcurl libsystemd libwslay libcares jansson libmicrohttpd
OUR_CPPFLAGS := -I. -D_GNU_SOURCE -D_FORTIFY_SOURCE=2
OUR_CFLAGS := -std=gnu17 -include common/banned.h -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wwrite-strings -fno-strict-aliasing -fstack-protector-strong
OUR_LDLIBS := -lnng -lssl -lcrypto -lsecp256k1 -lleveldb -lcurl -lsystemd -lwslay -lcares -ljansson -lmicrohttpd -linih -lcbor \
	-lpthread -lm
ifeq ($(VARIANT),asan)
OUR_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE
OUR_LDFLAGS += -fsanitize=address,undefined
else ifeq ($(VARIANT),fuzz)
OUR_CFLAGS += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -U_FORTIFY_SOURCE
FUZZ_MAIN := -fsanitize=fuzzer
else ifeq ($(VARIANT),coverage)
OUR_CFLAGS += -fprofile-instr-generate -fcoverage-mapping
else ifeq ($(ALLOCATOR),jemalloc)
OUR_CPPFLAGS += -DHAVE_JEMALLOC
OUR_LDLIBS += -ljemalloc
else ifeq ($(ALLOCATOR),mimalloc)
OUR_CPPFLAGS += -DHAVE_MIMALLOC
OUR_LDLIBS += -lmimalloc
else ifneq ($(ALLOCATOR),glibc)
$(error ALLOCATOR is jemalloc, glibc or mimalloc, not $(ALLOCATOR))
endif
# LevelDB has to find them in the program (common/leveldb_memory.h); without being told, not every linker exports them.
OUR_LDFLAGS += $(patsubst %,-Wl$(comma)--export-dynamic-symbol=%,_Znwm _Znam _ZdlPv _ZdaPv _ZdlPvm _ZdaPvm)
ifdef WERROR
OUR_CFLAGS += -Werror
endif

ROOMS := common $(STAGES) ctl tests/lib tests/simnet tests/faults tests/bench tests/leaklab
sources = $(filter-out %/main.c $(1)/test_%.c $(1)/bench_%.c,$(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIBS := $(foreach r,$(ROOMS),$(if $(call sources,$(r)),$(B)/lib/$(notdir $(r)).a))
PROGRAMS := $(foreach s,$(STAGES),$(if $(wildcard $(s)/main.c),$(B)/standpipe-$(s))) $(if $(wildcard ctl/main.c),$(B)/standpipe)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(foreach r,common $(STAGES) ctl,$(wildcard tests/$(r)/test_*.c)))
PIPELINE_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/pipeline/test_*.c tests/simnet/test_*.c tests/faults/test_*.c) \
	tests/leaklab/test_verdict.c)
SIMNET := $(if $(wildcard tests/simnet/main.c),$(B)/tests/simnet/simnet)
BENCHES := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/bench/bench_*.c))
FUZZERS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
LEAKLAB := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/leaklab/test_*.c))
ALL_C := $(foreach r,$(ROOMS) tests $(addprefix tests/,common $(STAGES) ctl pipeline simnet faults bench leaklab leaklab/leak fuzz),\
	$(wildcard $(r)/*.c))

# Where tests find the programs.
export STANDPIPE_BUILD := $(CURDIR)/$(B)

all: $(PROGRAMS) ## build the stages and the standpipe command
.PHONY: all deps run demo test test-unit test-pipeline test-faults test-real bench asan lint format fuzz install clean help
.DELETE_ON_ERROR:
.SECONDARY:

$(B)/obj/%.o: %.c Makefile
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(OUR_CPPFLAGS) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

define archive
$(B)/lib/$(notdir $(1)).a: $(call objects,$(call sources,$(1)))
	$$(call say,AR,$$@)mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call archive,$(r))))

link = $(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $(1) $(OUR_LDLIBS) $(LDLIBS)

$(foreach s,$(STAGES),$(eval $(B)/standpipe-$(s): $(B)/obj/$(s)/main.o $(B)/lib/$(s).a $(B)/lib/common.a))
$(B)/standpipe: $(B)/obj/ctl/main.o $(B)/lib/ctl.a $(B)/lib/common.a
$(PROGRAMS):
	$(call link,$^)

# A test of a stage links with that stage; tests/lib has what several of them need.
testlib = $(if $(wildcard tests/lib/*.c),$(B)/lib/lib.a)
define test_program
$(B)/tests/$(1)/%: $(B)/obj/tests/$(1)/%.o $(B)/obj/tests/test.o $(testlib) $(if $(call sources,$(2)),$(B)/lib/$(2).a) $(B)/lib/common.a
	$$(call link,$$^)
endef
$(foreach r,$(STAGES) ctl,$(eval $(call test_program,$(r),$(r))))
$(eval $(call test_program,common,common))

# Tests of the whole group, and the simulated network that most of them stand in.
group_libs = $(B)/obj/tests/test.o $(B)/lib/simnet.a $(testlib) $(B)/lib/ctl.a $(B)/lib/common.a
$(B)/tests/pipeline/%: $(B)/obj/tests/pipeline/%.o $(group_libs)
	$(call link,$^)
# What it makes is held against the stages' own reading.
$(B)/tests/simnet/%: $(B)/obj/tests/simnet/%.o $(B)/lib/resolve.a $(B)/lib/validate.a $(group_libs)
	$(call link,$^)
# Faults: a library that is loaded into the group's processes stands between them and the system.
$(B)/tests/faults/%: $(B)/obj/tests/faults/%.o $(B)/lib/faults.a $(group_libs) | $(B)/tests/faults/interposer.so
	$(call link,$^)
$(B)/tests/faults/interposer.so: tests/faults/preload/interposer.c tests/faults/control.h Makefile
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) $(OUR_CPPFLAGS) $(filter-out -fsanitize% -fno-sanitize%,$(OUR_CFLAGS)) $(CFLAGS) \
		-fPIC -shared -o $@ $<
$(SIMNET): $(B)/obj/tests/simnet/main.o $(group_libs)
	$(call link,$^)
# A bench links with every stage as well: it times their parts alone.
$(B)/tests/bench/%: $(B)/obj/tests/bench/%.o $(B)/lib/bench.a $(group_libs) $(patsubst %,$(B)/lib/%.a,$(STAGES) common)
	$(call link,$+)

# The leak lab: a resolver with leaks linked in before two of its functions, and everything else as it is.
$(B)/leaklab/standpipe-resolve: $(B)/obj/resolve/main.o $(B)/obj/tests/leaklab/leak/leaks.o $(B)/lib/resolve.a $(B)/lib/common.a
	$(call link,-Wl$(comma)--wrap=did_document_parse -Wl$(comma)--wrap=trust_apply $^)
$(B)/leaklab/%: $(B)/%
	$(Q)mkdir -p $(@D) && cp -f $< $@
LEAKLAB_GROUP := $(patsubst $(B)/%,$(B)/leaklab/%,$(PROGRAMS))
$(B)/tests/leaklab/%: $(B)/obj/tests/leaklab/%.o $(B)/lib/leaklab.a $(B)/lib/bench.a $(group_libs)
	$(call link,$+)

# A fuzz target is one function, LLVMFuzzerTestOneInput. replay.c gives it a main that runs it over tests/corpus/NAME/; in the
# variant "fuzz" libFuzzer does.
$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(if $(FUZZ_MAIN),,$(B)/obj/tests/fuzz/replay.o) $(B)/lib/validate.a $(B)/lib/resolve.a \
		$(B)/lib/ingest.a $(B)/lib/store.a $(B)/lib/fanout.a $(B)/lib/common.a
	$(call link,$^ $(FUZZ_MAIN))

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_C) $(foreach s,$(STAGES) ctl,$(s)/main.c))

# Debian packages: to build and run, and what the tests need besides.
DEPS_BUILD := gcc libc6-dev pkg-config ca-certificates libnng-dev libssl-dev libsecp256k1-dev libleveldb-dev libcbor-dev \
	libcurl4-openssl-dev libsystemd-dev libwslay-dev libc-ares-dev libjansson-dev libjemalloc-dev libmicrohttpd-dev libinih-dev \
	$(if $(filter mimalloc,$(ALLOCATOR)),libmimalloc-dev)
DEPS_TEST := $(DEPS_BUILD) git clang clang-format libclang-rt-14-dev llvm shellcheck mandoc prometheus nginx-light systemd openssl \
	caddy chromium haproxy python3-websocket python3-websockets
missing = $(shell for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
# npm in whatever form the machine has it.
npm = $(if $(shell command -v npm),,npm)
define install_packages
	$(Q)set -- $(strip $(call missing,$(1)) $(2)); [ $$# -eq 0 ] || { echo "installing $$*"; \
		sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; $$sudo apt-get -qq update && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$$@" >/dev/null; }
endef

deps: ## install the Debian packages that building, running and testing need
	$(call install_packages,$(DEPS_TEST),$(npm))

run-deps:
	$(call install_packages,$(DEPS_BUILD))
.PHONY: run-deps

run: run-deps ## build, and run a relay on http://localhost:2470 with its data under ./var
	$(Q)$(MAKE) --no-print-directory all
	$(Q)mkdir -p var && exec $(B)/standpipe --config systemd/local.conf $(RUN_FLAGS) run

demo: run-deps ## a relay that reads a small simulated network, and what comes out of it; needs no internet
	$(Q)$(MAKE) --no-print-directory all $(SIMNET)
	$(Q)exec $(SIMNET) demo

test: deps ## everything: lint apart, all tests there are
	$(Q)$(MAKE) --no-print-directory all tests
	$(Q)$(MAKE) --no-print-directory test-suite

test-suite:
	$(Q)tests/summary $(TESTS) $(FUZZERS) $(PIPELINE_TESTS) tests/units tests/real/run
.PHONY: test-suite

tests: $(TESTS) $(FUZZERS) $(PIPELINE_TESTS) $(SIMNET) $(BENCHES) $(LEAKLAB) $(LEAKLAB_GROUP)
.PHONY: tests

test-unit: $(TESTS) $(FUZZERS) ## unit tests and the replayed fuzz corpora
	$(Q)tests/summary $(TESTS) $(FUZZERS)

test-pipeline: all $(PIPELINE_TESTS) ## the whole group: against fake hosts, in the simulated network, under faults
	$(Q)tests/summary $(PIPELINE_TESTS)

# SECONDS and SEED of the long run.
test-faults: all $(B)/tests/faults/test_faults ## faults of every kind at random: make test-faults SECONDS=n SEED=n
	$(Q)FAULT_SECONDS=$(or $(SECONDS),600) $(if $(SEED),TEST_SEED=$(SEED)) $(B)/tests/faults/test_faults the_long_run

test-real: deps all $(SIMNET) ## real PDS, PLC directory and clients from npm
	$(Q)tests/summary tests/real/run

# About a minute of CPU for 600 repositories; SEED=N repeats a run.
REPOS ?= 10000
test-differential: deps all $(SIMNET) ## commits of REPOS random repositories, and each changed, as other implementations see them
	$(Q)tests/real/run differential.mjs $(REPOS) $(SEED)
.PHONY: test-differential

# PART=verify, or several of them; none: all.
bench: deps all $(BENCHES) ## measure: one line a figure, results also in build/bench.json; PART=verify, log, ... for a part
	$(Q)tests/bench/run $(PART)

leaklab-group: $(LEAKLAB_GROUP)
.PHONY: leaklab-group leaklab soak

leaklab: deps all $(LEAKLAB) leaklab-group ## a resolver that leaks in three ways: whether it is found, and what it depends on; half an hour
	$(Q)$(MAKE) --no-print-directory ALLOCATOR=glibc leaklab-group
	$(Q)$(B)/tests/leaklab/test_leaklab

soak: deps all $(LEAKLAB) ## MINUTES (60) at RATE (2000) events a second: whether memory grows, as table and as build/soak.svg
	$(Q)SOAK_MINUTES=$(MINUTES) SOAK_RATE=$(RATE) $(B)/tests/leaklab/test_soak

asan: deps ## the whole suite under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) --no-print-directory VARIANT=asan all tests
	$(Q)$(MAKE) --no-print-directory VARIANT=asan test-suite

fuzz: deps ## every fuzz target under libFuzzer, FUZZ_SECONDS (60) each, one after another
	$(Q)$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzzers
	$(Q)tests/fuzz/run $(FUZZERS:build/%=build/fuzz/%)

fuzz-coverage: deps ## how many lines of each parser the fuzz corpora reach
	$(Q)$(MAKE) --no-print-directory VARIANT=coverage CC=clang fuzzers
	$(Q)tests/fuzz/coverage $(FUZZERS:build/%=build/coverage/%)

fuzzers: $(FUZZERS)
.PHONY: fuzzers fuzz-coverage

lint: ## warnings of gcc and clang as errors, formatting, layering, man pages, shell scripts
	$(Q)tests/lint

format: ## put every C file into the project's form
	$(Q)git ls-files -co --exclude-standard '*.[ch]' | xargs clang-format -i

LIBEXECDIR = $(PREFIX)/libexec/standpipe
install: all ## install below $(DESTDIR)$(PREFIX): programs, man pages, units, example configuration
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(UNITDIR) $(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)/usr/lib/tmpfiles.d \
		$(DESTDIR)$(PREFIX)/share/standpipe \
		$(DESTDIR)$(SYSCONFDIR)/standpipe
	$(Q)install -m 755 $(B)/standpipe $(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 755 $(STAGES:%=$(B)/standpipe-%) $(DESTDIR)$(LIBEXECDIR)
	$(Q)install -m 644 ctl/standpipe.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(Q)install -m 644 $(foreach s,$(STAGES),$(s)/standpipe-$(s).8) $(DESTDIR)$(PREFIX)/share/man/man8
	$(Q)for u in systemd/*.service systemd/*.socket systemd/*.target; do sed 's,/usr/local/,$(PREFIX)/,g; s,/etc/standpipe,$(SYSCONFDIR)/standpipe,g' \
		$$u >$(DESTDIR)$(UNITDIR)/$${u##*/}; done
	$(Q)install -m 644 systemd/standpipe.sysusers $(DESTDIR)/usr/lib/sysusers.d/standpipe.conf
	$(Q)install -m 644 systemd/standpipe.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/standpipe.conf
	$(Q)install -m 644 systemd/standpipe.rules.yml systemd/standpipe.nginx.conf systemd/standpipe.haproxy.cfg \
		systemd/standpipe.Caddyfile $(DESTDIR)$(PREFIX)/share/standpipe
	$(Q)[ -e $(DESTDIR)$(SYSCONFDIR)/standpipe/standpipe.conf ] || \
		install -m 644 systemd/standpipe.conf $(DESTDIR)$(SYSCONFDIR)/standpipe/standpipe.conf

clean: ## remove what was built
	$(Q)rm -rf build

help:
	$(Q)sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile
