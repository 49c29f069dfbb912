#!/bin/sh
# Makes sure that what the first build and the first start need is on this machine: cargo, a C compiler, and the
# PostgreSQL server programs. Installs the last two with apt-get where that exists, and says so before it does.
# Nothing is changed when nothing is missing. The server itself never installs anything.
set -eu

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# The same places in the same order as find_binaries in server/crates/postgres/src/binaries.rs.
has_postgres() {
    if [ -n "${SWITCHBOARD_POSTGRES_BIN:-}" ]; then
        has_programs "$SWITCHBOARD_POSTGRES_BIN" && return 0
        fail "SWITCHBOARD_POSTGRES_BIN is $SWITCHBOARD_POSTGRES_BIN, and there are no programs initdb and postgres in it"
    fi
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql*/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
        has_programs "$bin" && return 0
    done
    # Both have to be in the same directory, so asking for each by name would not do.
    rest=${PATH:-}:
    while [ -n "$rest" ]; do
        bin=${rest%%:*}
        rest=${rest#*:}
        case $bin in /*) has_programs "$bin" && return 0 ;; esac
    done
    return 1
}

has_programs() { [ -f "$1/initdb" ] && [ -f "$1/postgres" ]; }

# Runs a command as root, or explains how to.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo; as root run: apt-get install $packages"
    fi
}

updated=no
install() { # what it is for, then the packages
    reason=$1
    shift
    packages=$*
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "$reason, and there is no apt-get to install it with; install it with your system's package manager" \
            "(its packages on Debian are: $packages)"
    fi
    say "$reason; installing the Debian packages: $packages"
    # A fresh machine or container has no package lists, or old ones that name files no longer there.
    if [ "$updated" = no ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update --quiet=2 >&2
        updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$@" >&2
}

# Debian's package makes a cluster of its own and starts it. Switchboard has its private one and needs only the
# programs, so the package is asked not to, by a file that is there only while it is being installed. Whoever
# administers the machine finds their settings as they were.
install_postgres() {
    packages=postgresql
    if command -v apt-get >/dev/null 2>&1; then
        directory=/etc/postgresql-common/createcluster.d
        as_root mkdir -p "$directory"
        trap 'as_root rm -f "$directory/switchboard-install.conf"; as_root rmdir "$directory" 2>/dev/null || true' EXIT
        trap 'exit 1' HUP INT TERM
        echo 'create_main_cluster = false' | as_root tee "$directory/switchboard-install.conf" >/dev/null
    fi
    install "Switchboard needs the PostgreSQL server programs" postgresql
}

if ! command -v cargo >/dev/null 2>&1; then
    fail "Switchboard is built with Rust, and there is no cargo in PATH: install Rust from https://rustup.rs" \
        "and open a new terminal"
fi
if ! command -v cc >/dev/null 2>&1; then
    # The cryptography library ring has parts in C and assembler, and Rust links with cc.
    install "Building Switchboard needs a C compiler" gcc libc6-dev
fi
# With a database of one's own only the tests need the programs.
if [ -z "${DATABASE_URL:-}" ] || [ "${1:-}" = --always ]; then
    if ! has_postgres; then
        install_postgres
        has_postgres || fail "the package postgresql is installed, and its programs initdb and postgres are not found"
    fi
fi
