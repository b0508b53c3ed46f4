#!/bin/sh
# Installs a daemon as a systemd service, or removes it. Called by make; run again, it upgrades.
#
#   systemd/install.sh install edge|cloud      the program, the unit, its user, and settings where there are none yet
#   systemd/install.sh uninstall edge|cloud    all of that, except what is yours: settings, certificates and state
#
# From the environment (make passes them on):
#   VARIANTS="camera nvidia"  devices the unit may use (systemd/cleave-*.service.d); `none` takes them away again
#   EXTRAS=onnx               optional parts of the program, as in pyproject.toml; unset: all that the role can use
#   PYTHON=python3            the interpreter to build on
#   DESTDIR=/some/root        install there (an image, a package): nothing is started, no user is made
#   PURGE=1                   uninstall: settings, certificates, state, frames, results and the user, too
#
# pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, …) say where packages come from, and so which build of torch.
set -eu
umask 022 # the daemon's user must be able to read the program, whatever root's own habit is

fail() { echo "install.sh: $*" >&2; exit 1; }
say() { echo "$*"; }

[ $# -eq 2 ] || fail "usage: systemd/install.sh install|uninstall edge|cloud"
action=$1 role=$2
case $action in install | uninstall) ;; *) fail "$action: expected install or uninstall" ;; esac
case $role in edge) other=cloud ;; cloud) other=edge ;; *) fail "$role: expected edge or cloud" ;; esac

# What is asked for by a setting later (a camera, a broker) should not need another installation.
case $role in edge) useful=onnx,camera,mqtt ;; cloud) useful=onnx ;; esac

PYTHON=${PYTHON:-python3} EXTRAS=${EXTRAS-$useful} VARIANTS=${VARIANTS-} PURGE=${PURGE-}
DESTDIR=${DESTDIR-}
tree=$(cd "$(dirname "$0")/.." && pwd)
service=cleave-$role
opt=$DESTDIR/opt/cleave
etc=$DESTDIR/etc/cleave
units=$DESTDIR/usr/local/lib/systemd/system
sysusers=$DESTDIR/usr/local/lib/sysusers.d
tmpfiles=$DESTDIR/usr/local/lib/tmpfiles.d
state=$DESTDIR/var/lib/$service
link=$DESTDIR/usr/local/bin/$service

check_machine() {
    [ "$(id -u)" = 0 ] || fail "only root can do this: sudo make $action-$role"
    [ -n "$DESTDIR" ] || [ -d /run/systemd/system ] ||
        fail "systemd does not run on this machine; set DESTDIR to make a tree, or run the daemons by hand (README.md)"
}

check_python() {
    command -v "$PYTHON" >/dev/null || fail "there is no $PYTHON: apt-get install python3 python3-venv"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed, $PYTHON is $("$PYTHON" -V 2>&1); say PYTHON=python3.12 or the like"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON cannot make virtual environments: apt-get install python3-venv"
    for variant in $VARIANTS; do
        [ "$variant" = none ] || [ -f "$tree/systemd/$service.service.d/$variant.conf" ] ||
            fail "VARIANTS=$variant: $service has $(cd "$tree/systemd/$service.service.d" && echo *.conf), or none"
    done
}

# --- install ------------------------------------------------------------------------------------------------------
install_program() {
    venv=$opt/venv
    version=$("$PYTHON" -c 'import sys; print(*sys.version_info[:2], sep=".")')
    if [ -d "$venv" ] && [ ! -x "$venv/lib/python$version/site-packages/pip" ]; then
        say "the interpreter has changed: making $venv anew"
        rm -rf "$venv"
    fi
    [ -d "$venv" ] || "$PYTHON" -m venv "$venv"
    # Built from a copy: a build leaves things behind, and this may be somebody's checkout.
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    mkdir "$build/tree"
    (cd "$tree" && cp -R pyproject.toml README.md LICENSE common models edge_daemon cloud_daemon benchmarks "$build/tree")
    pip="$venv/bin/python -m pip --no-input --disable-pip-version-check"
    say "installing torch (several minutes where it must be downloaded)"
    $pip install --quiet --no-cache-dir --use-pep517 -c "$tree/constraints.txt" torch
    $pip wheel --quiet --no-cache-dir --no-deps --wheel-dir "$build" "$build/tree"
    wheel=$(echo "$build"/*.whl)
    $pip install --quiet --no-cache-dir --use-pep517 -c "$tree/constraints.txt" "$wheel${EXTRAS:+[$EXTRAS]}"
    # Again, for a tree that has changed under the same version.
    $pip install --quiet --no-cache-dir --no-deps --force-reinstall "$wheel"
    if [ -n "$DESTDIR" ]; then
        # Scripts begin with the interpreter's path, which will be another one.
        grep -rlIF "$DESTDIR" "$venv/bin" "$venv/pyvenv.cfg" | xargs -r sed -i "s|$DESTDIR||g"
    fi
}

install_files() {
    install -d "$opt/libexec" "$opt/docs" "$units" "$sysusers" "$tmpfiles" "$etc" "$DESTDIR/usr/local/bin"
    install -m 0755 "$tree/systemd/hand-over-credentials" "$opt/libexec/"
    install -m 0644 "$tree"/docs/*.md "$opt/docs/"
    install -m 0644 "$tree/systemd/$service.service" "$units/"
    ln -sfn "/opt/cleave/venv/bin/$service" "$link"
    printf 'u %s - "Cleave %s daemon" /var/lib/%s\n' "$service" "$role" "$service" >"$sysusers/$service.conf"
    {
        echo "d /var/lib/$service 0750 $service $service -"
        # What is put there belongs to the daemon's group, whoever puts it.
        [ "$role" != edge ] || echo "d /var/lib/$service/frames 2770 $service $service -"
    } >"$tmpfiles/$service.conf"
    install_variants
    # Yours from now on: nothing below is written over.
    [ -e "$etc/$role.env" ] || install -m 0640 "$tree/systemd/$role.env.example" "$etc/$role.env"
    install -m 0640 "$tree/systemd/$role.env.example" "$etc/$role.env.example"
    for directory in "$etc/$role-tls" "$etc/$role-secrets"; do
        [ -d "$directory" ] || install -d -m 0700 "$directory"
    done
}

install_variants() {
    chosen=$VARIANTS
    if [ -z "$chosen" ] && [ -d "$units/$service.service.d" ]; then # an upgrade keeps what was chosen
        chosen=$(cd "$units/$service.service.d" && for file in *.conf; do echo "${file%.conf}"; done)
    fi
    rm -rf "$units/$service.service.d"
    for variant in $chosen; do
        [ "$variant" != none ] || continue
        install -D -m 0644 -t "$units/$service.service.d" "$tree/systemd/$service.service.d/$variant.conf"
    done
}

install_service() {
    check_python
    install_program
    install_files
    if [ -n "$DESTDIR" ]; then
        say "$service is in $DESTDIR. Where it is unpacked: systemd-sysusers && systemd-tmpfiles --create &&"
        say "    systemctl daemon-reload && systemctl enable $service"
        return
    fi
    systemd-sysusers "$sysusers/$service.conf"
    systemd-tmpfiles --create "$tmpfiles/$service.conf"
    systemctl daemon-reload
    systemctl --quiet enable "$service"
    if systemctl --quiet is-active "$service"; then
        systemctl restart "$service"
        say "$service is upgraded and runs; $etc/$role.env was kept"
    else
        say "$service is installed. Now: edit $etc/$role.env, bring certificates to $etc/$role-tls, then"
        say "    $service doctor && systemctl start $service"
    fi
}

# --- uninstall ----------------------------------------------------------------------------------------------------
uninstall_service() {
    if [ -z "$DESTDIR" ] && [ -e "$units/$service.service" ]; then
        systemctl --quiet disable --now "$service"
    fi
    rm -rf "$units/$service.service" "$units/$service.service.d" "$link" "$etc/$role.env.example" \
        "$tmpfiles/$service.conf"
    [ -e "$units/cleave-$other.service" ] || rm -rf "$opt"
    if [ -n "$PURGE" ]; then
        rm -rf "$etc/$role.env" "$etc/$role-tls" "$etc/$role-secrets" "$state" "$DESTDIR/etc/systemd/system/$service.service.d"
        if [ -z "$DESTDIR" ] && id "$service" >/dev/null 2>&1; then userdel "$service"; fi
        rm -f "$sysusers/$service.conf"
        rmdir "$etc" 2>/dev/null || true
    else
        say "kept: $etc/$role.env, $role-tls and $role-secrets beside it, $state and the user $service"
        say "(make uninstall-$role PURGE=1 removes them)"
    fi
    rmdir "$units" "${units%/system}" "$sysusers" "$tmpfiles" 2>/dev/null || true
    if [ -z "$DESTDIR" ]; then
        systemctl daemon-reload
        systemctl reset-failed "$service" 2>/dev/null || true
    fi
    say "$service is removed"
}

check_machine
"${action}_service"
