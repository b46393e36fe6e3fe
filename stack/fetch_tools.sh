#!/usr/bin/env bash
# Puts prometheus, promtool, alertmanager, amtool and node_exporter into DIRECTORY/bin (default .tools/bin), and with
# --tests victoria-metrics and chromium, which only the tests run.
#
#   usage: stack/fetch_tools.sh [--tests] [DIRECTORY]
#
# Programs on PATH are linked. The others are unpacked from the packages of the distribution. Nothing is installed, no
# service is started, and only DIRECTORY is written. Programs that are already there are kept, so that a second run
# needs no network.
#
# Exit code: 0 all programs are there, 3 some are missing (each is named, with the remedy), 2 wrong usage.
set -euo pipefail

tests=0
[[ ${1:-} != --tests ]] || { tests=1; shift; }
[[ $# -le 1 && ${1:-} != -* ]] || { echo "usage: $0 [--tests] [DIRECTORY]" >&2; exit 2; }
mkdir -p "${1:-.tools}/bin" "${1:-.tools}/packages" "${1:-.tools}/apt"
tools=$(cd "${1:-.tools}" && pwd)
oldest_prometheus=2.42.0  # the first with keep_firing_for, which the alert rules use

# program | Debian package | names of the executable
programs="
prometheus|prometheus|prometheus
promtool|prometheus|promtool
alertmanager|prometheus-alertmanager|alertmanager prometheus-alertmanager
amtool|prometheus-alertmanager|amtool
node_exporter|prometheus-node-exporter|node_exporter prometheus-node-exporter"
[[ $tests -eq 0 ]] || programs+="
victoria-metrics|victoria-metrics|victoria-metrics victoria-metrics-prod
chromium|chromium-headless-shell|chromium chromium-browser google-chrome chromium-headless-shell"

say() { printf 'tools: %s\n' "$*"; }

# Runs a program; if it does not work, $why is the reason.
works() {  # program path
    local version
    why="it does not run"
    version=$(timeout 20 "$2" --version 2>&1) || return 1
    case $1 in prometheus | promtool)
        version=$(sed -n 's/.*version \([0-9][0-9.]*\).*/\1/p;T;q' <<<"$version")
        why="it is version ${version:-unknown}, the alert rules need $oldest_prometheus or newer"
        [[ $(printf '%s\n' "$oldest_prometheus" "${version:-0}" | sort -V | head -n 1) == "$oldest_prometheus" ]] ;;
    esac
}

# Prints the path of a working program on PATH, outside DIRECTORY/bin.
on_path() {  # program names...
    local program=$1 name path
    shift
    for name in "$@"; do
        while read -r path; do
            [[ ${path%/*} == "$tools/bin" ]] && continue
            if works "$program" "$path"; then printf '%s\n' "$path"; return 0; fi
            say "$path is ignored: $why" >&2
        done < <(type -ap "$name" || true)
    done
    return 1
}

# Links or writes DIRECTORY/bin/PROGRAM in one step.
put() {  # program; the new file is at $tools/bin/.PROGRAM.new
    mv -fT "$tools/bin/.$1.new" "$tools/bin/$1"
}

# apt-get and apt-cache with the package lists of the machine, or with those under DIRECTORY/apt.
own_lists=()
apt() {
    local command=$1
    shift
    "$command" -qq -o APT::Sandbox::User="$(id -un)" -o Dir::Cache::pkgcache="$tools/apt/pkgcache.bin" \
        -o Dir::Cache::srcpkgcache="" "${own_lists[@]}" "$@"
}

update_own_lists() {
    [[ ${#own_lists[@]} -eq 0 ]] || return 1
    say "fetching package lists"
    mkdir -p "$tools/apt/lists/partial" "$tools/apt/archives/partial"
    rm -f "$tools/apt/pkgcache.bin"
    own_lists=(-o Dir::State::lists="$tools/apt/lists" -o Dir::Cache::archives="$tools/apt/archives"
        -o Debug::NoLocking=true)
    apt apt-get update
}

# The packages with the scripts, styles and fonts of Prometheus' web pages.
page_packages() {
    apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances prometheus | sed -n 's/^\(\(libjs\|fonts\)-[^ <>:]*\)$/\1/p' | sort -u
}

# A font, and the packages that Chromium depends on and this machine lacks, without drivers of screens.
browser_packages() {
    printf 'fonts-dejavu-core\n'
    apt apt-get --simulate --no-install-recommends install chromium-headless-shell |
        sed -n '/^Inst lib\(llvm\|z3-\|gl1-mesa-dri\)/d; s/^Inst \(\(chromium-common\|lib\)[^ ]*\) .*/\1/p'
}

# Debian's Alertmanager reads its templates from an absolute path. The path is replaced by one of the same length,
# a folder that the start script opens on file descriptor 9.
relocate_alertmanager() {  # root
    local fixed=/usr/share/prometheus/alertmanager ours=/proc/self/fd/9
    while [[ ${#ours} -lt ${#fixed} ]]; do ours+=/; done
    [[ -d $1$fixed ]] || return 0
    LC_ALL=C sed -i "s|$fixed|$ours|g" "$1/usr/bin/prometheus-alertmanager" "$1/usr/bin/amtool"
}

# Downloads a package and unpacks it into DIRECTORY/packages/PACKAGE, atomically.
fetch() {  # package
    local status=0
    stage=$(mktemp -d "$tools/packages/.$1.XXXXXX")
    say "fetching the package $1"
    unpack "$1" || status=1
    rm -rf "$stage"
    return "$status"
}

unpack() {  # package
    local package=$1 deb pages
    if ! (cd "$stage" && apt apt-get download "$package" 2>errors); then
        update_own_lists || { say "$package: $(tail -n 1 "$stage/errors")" >&2; return 1; }
        (cd "$stage" && apt apt-get download "$package") || return 1
    fi
    if [[ $package == prometheus ]]; then  # needed by its web pages only
        pages=$(page_packages)
        [[ -z $pages ]] || (cd "$stage" && apt apt-get download $pages) ||
            say "the pages of Prometheus could not be fetched" >&2
    elif [[ $package == chromium-headless-shell ]]; then
        (cd "$stage" && apt apt-get download $(browser_packages)) || return 1
    fi
    for deb in "$stage"/*.deb; do dpkg-deb -x "$deb" "$stage/root" || return 1; done
    [[ $package != chromium-headless-shell ]] || cat >"$stage/root/fonts.conf" <<'FONTS'
<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir prefix="relative">usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
FONTS
    [[ $package != prometheus-alertmanager ]] || relocate_alertmanager "$stage/root"
    rm -rf "${tools:?}/packages/$package"
    mv -T "$stage/root" "$tools/packages/$package"
}

# Writes the start script of an unpacked program; it still works if DIRECTORY is moved.
wrap() {  # program package names...
    local program=$1 package=$2 name root=$tools/packages/$2 before="" flags=""
    shift 2
    for name in "$@"; do [[ -x $root/usr/bin/$name ]] && break; done
    [[ -x $root/usr/bin/$name ]] || return 1
    case $program in
        prometheus)
            if [[ -d $root/usr/share/prometheus/web && -z $(find "$root/usr/share/prometheus/web/" -xtype l) ]]; then
                flags='--web.local-assets="$root/usr/share/prometheus/web/"'
            fi ;;
        alertmanager | amtool)
            if [[ -d $root/usr/share/prometheus/alertmanager ]]; then
                before='exec 9< "$root/usr/share/prometheus/alertmanager"'
            fi ;;
        chromium)  # Debian's own start script reads absolute paths
            name=../lib/chromium/chromium-headless-shell
            before='libraries=$(printf %s: "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu "$root"/usr/lib/*/pulseaudio)
export LD_LIBRARY_PATH="$libraries" FONTCONFIG_FILE="$root/fonts.conf"' ;;
    esac
    cat >"$tools/bin/.$program.new" <<SCRIPT
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/../packages/$package
$before
exec "\$root/usr/bin/$name" $flags "\$@"
SCRIPT
    chmod +x "$tools/bin/.$program.new"
    works "$program" "$tools/bin/.$program.new" && put "$program"
}

trap 'rm -rf "${stage:-}" "$tools/apt"' EXIT
if command -v flock >/dev/null; then exec 8>"$tools/.lock"; flock 8; fi  # one run at a time

missing=0 wanted=0
declare -A tried=()
while IFS='|' read -r program package names; do
    [[ -n $program ]] || continue
    works "$program" "$tools/bin/$program" && continue
    wanted=1
    if path=$(on_path "$program" $names); then
        ln -sf "$path" "$tools/bin/.$program.new"
        put "$program"
        say "$program is $path"
        continue
    fi
    remedy="install the package $package, or put $program on PATH"
    if ! { command -v apt-get && command -v dpkg-deb; } >/dev/null; then
        say "$program is missing, and this machine has no apt-get to fetch it with: $remedy" >&2
        missing=1
        continue
    fi
    if [[ -z ${tried[$package]:-} ]]; then
        tried[$package]=failed
        if wrap "$program" "$package" $names; then tried[$package]=there
        elif fetch "$package"; then tried[$package]=there; fi
    fi
    if [[ ${tried[$package]} == there ]] && wrap "$program" "$package" $names; then
        say "$program is unpacked from the package $package"
    else
        [[ ${tried[$package]} == there ]] || why="the package could not be fetched"
        say "$program is missing ($why): $remedy, then run $0 again" >&2
        missing=1
    fi
done <<<"$programs"
[[ $wanted -eq 1 || $missing -eq 1 ]] || say "all programs are there"
[[ $missing -eq 0 ]] || exit 3
