#!/bin/sh
# What Qt, OpenGL, a virtual screen and a Python environment need from Debian or Ubuntu. Safe to run again.
# Installs what is missing when it may (root, or sudo without a password); otherwise names the command and fails.
set -eu

packages="xvfb xauth xdotool libegl1 libgl1 libgl1-mesa-dri libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1
libglib2.0-0 libnss3"

[ "$(uname)" = Linux ] || exit 0

installed() {
    # a package may be there under a newer name that provides the old one (libglib2.0-0t64)
    dpkg-query --show --showformat '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null | grep -qx installed
}

missing() {
    for package in $packages; do installed "$package" || printf '%s ' "$package"; done
    "$(dirname "$0")/find-python.sh" >/dev/null 2>&1 || printf 'python3 python3-venv'
}

if ! command -v dpkg-query >/dev/null; then
    command -v Xvfb >/dev/null && exit 0
    echo "Not Debian or Ubuntu: install Xvfb, xdotool, OpenGL (EGL and Mesa) and the xcb libraries of Qt 6, then try again." >&2
    exit 1
fi

wanted=$(missing)
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=env
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo env"
else
    echo "System packages are missing. As root: apt-get update && apt-get install -y $wanted" >&2
    exit 1
fi

echo "Installing system packages: $wanted"
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of words is meant
$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null

if ! "$(dirname "$0")/find-python.sh" >/dev/null 2>&1; then
    # an older release whose python3 is below 3.11, such as Ubuntu 22.04
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3.11 python3.11-venv >/dev/null
fi
