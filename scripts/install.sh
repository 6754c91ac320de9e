#!/bin/sh
# Installs what the platform needs on this machine, and nothing that is there:
#
#   scripts/install.sh run     Postgres
#   scripts/install.sh test    the same, a C compiler for the race detector,
#                              Chromium, Firefox, the clients from npm, Node
#                              and Python for the README's examples, poppler
#                              to read our PDFs, and on Linux libavcodec for
#                              Firefox's H.264 and iproute2 for bad networks
#
# Uses apt on Debian and Ubuntu, Homebrew on macOS. Without the right to
# install it says in one line what is missing. With everything in place it
# needs no network.
set -eu
cd "$(dirname "$0")/.."

oldest_postgres=15

say() { printf '%s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# postgres_in DIR: are initdb and a postgres that is new enough in there?
postgres_in() {
	[ -x "$1/initdb" ] && [ -x "$1/postgres" ] || return 1
	version=$("$1/postgres" --version 2>/dev/null | sed -n 's/^postgres ([^)]*) \([0-9]*\).*/\1/p')
	[ -n "$version" ] && [ "$version" -ge "$oldest_postgres" ]
}

# The places are those where migrations/privatepg looks.
has_postgres() {
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
		/Applications/Postgres.app/Contents/Versions/*/bin /usr/local/pgsql/bin; do
		postgres_in "$dir" && return 0
	done
	has postgres && postgres_in "$(dirname "$(command -v postgres)")" && return 0
	has pg_config && postgres_in "$(pg_config --bindir)"
}

has_chromium() {
	has chromium || has chromium-browser || has google-chrome ||
		[ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ] ||
		[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

has_firefox() {
	has firefox-esr || has firefox || [ -x "/Applications/Firefox.app/Contents/MacOS/firefox" ]
}

# On macOS the race detector needs no compiler.
has_compiler() { [ "$(uname)" = Darwin ] || has gcc || { [ -n "${CC:-}" ] && has "$CC"; }; }

# Firefox takes what is there, whichever version.
has_avcodec() { (PATH=$PATH:/usr/sbin:/sbin && ldconfig -p | grep -q 'libavcodec\.so\.'); }

# Debian keeps them where an ordinary user's PATH may not look.
has_iproute2() { (PATH=$PATH:/usr/sbin:/sbin && has ip && has tc); }

# fresh_clients DIR: are exactly the packages of its lock file installed?
fresh_clients() { cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock.json"; }

client_folders() {
	for lock in cmd/platform/*/testdata/package-lock.json; do
		[ -f "$lock" ] && dirname "$lock"
	done
}

needs_npm() {
	for dir in $(client_folders); do
		fresh_clients "$dir" || return 0
	done
	return 1
}

missing() {
	has_postgres || echo postgres
	[ "$1" = test ] || return 0
	has_compiler || echo compiler
	has_chromium || echo chromium
	has_firefox || echo firefox
	has node || echo node
	if needs_npm && ! has npm; then echo npm; fi
	has python3 || echo python3
	has pdftotext || echo poppler
	[ "$(uname)" != Linux ] || has_avcodec || echo avcodec
	[ "$(uname)" != Linux ] || has_iproute2 || echo iproute2
}

# packages MANAGER THING...: what the manager calls the things.
packages() {
	manager=$1
	shift
	for thing in "$@"; do
		case $manager-$thing in
		apt-postgres) echo postgresql ;;
		apt-compiler) echo gcc libc6-dev ;;
		apt-firefox) if grep -qi ubuntu /etc/os-release; then echo firefox; else echo firefox-esr; fi ;;
		apt-avcodec) echo '^libavcodec[0-9].$' ;; # one, of the version there is
		apt-node) echo nodejs ;;
		apt-npm) echo nodejs npm ;;
		apt-poppler) echo poppler-utils ;;
		brew-postgres) echo postgresql@16 ;;
		brew-chromium) echo --cask google-chrome ;;
		brew-firefox) echo --cask firefox ;;
		brew-npm) echo node ;;
		brew-python3) echo python ;;
		*) echo "$thing" ;;
		esac
	done
}

# as_root COMMAND...: only called when one of the two will do.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt ARGUMENTS...: quiet as long as all goes well.
apt() {
	if ! said=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1); then
		say "$said"
		return 1
	fi
}

# Debian's package starts a server of its own. We only want the programs, so
# it is told not to, unless somebody already uses Postgres here.
apt_install() {
	apt update || say "apt-get update failed; trying with the lists there are"
	conf=/etc/postgresql-common/createcluster.conf
	case " $* " in
	*" postgresql "*)
		if [ ! -e "$conf" ]; then
			apt install --no-install-recommends postgresql-common || return 1
			as_root cp -p "$conf" "$conf.before-hibari" || return 1
			trap 'as_root mv "$conf.before-hibari" "$conf"' EXIT
			echo 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
		fi
		;;
	esac
	apt install --no-install-recommends "$@"
}

install_with_apt() {
	wanted=$(packages apt "$@")
	if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
		die "Missing on this machine: $*. Run this once, then again what you just ran: sudo apt-get install" $wanted
	fi
	say "Installing" $wanted "..."
	(apt_install $wanted) || die "apt-get could not install" $wanted
}

install_with_brew() {
	for thing in "$@"; do
		wanted=$(packages brew "$thing")
		say "Installing $wanted ..."
		HOMEBREW_NO_ENV_HINTS=1 brew install $wanted </dev/null >&2 || die "brew install $wanted failed"
	done
}

install() {
	if has apt-get; then
		install_with_apt "$@"
	elif [ "$(uname)" = Darwin ] && has brew; then
		install_with_brew "$@"
	elif [ "$(uname)" = Darwin ]; then
		die "Missing on this machine: $*. Install Homebrew (https://brew.sh), or install them yourself; Postgres $oldest_postgres or newer."
	else
		die "Missing on this machine: $*. Install them with your package manager; Postgres $oldest_postgres or newer."
	fi
}

install_clients() {
	for dir in $(client_folders); do
		fresh_clients "$dir" && continue
		(cd "$dir" && npm ci --prefer-offline --no-progress --no-audit --no-fund </dev/null >&2) || die "npm ci failed in $dir"
		cp "$dir/package-lock.json" "$dir/node_modules/.installed-lock.json"
	done
}

case "${1:-}" in
run | test) ;;
*) die "usage: scripts/install.sh run|test" ;;
esac
has go || die "Missing on this machine: Go 1.26 or newer. Get it from https://go.dev/dl"

things=$(missing "$1" | tr '\n' ' ')
if [ -n "$things" ]; then
	install $things
	things=$(missing "$1" | tr '\n' ' ')
	[ -z "$things" ] || die "Installed, but still missing or too old: $things(Postgres must be $oldest_postgres or newer: https://www.postgresql.org/download)"
fi
[ "$1" != test ] || install_clients
