# Finds or installs Python, finds or takes the agent, and becomes the agent. POSIX sh: dash, busybox ash, bash.
# Set before: root hash token verb receiver limit search socket
# It answers in lines `machinectl TOKEN WORD …`; what stands before the first one is noise of login scripts.
# No backslashes and few quotes: this text passes through login shells and sudo in quotes.
PATH=$PATH:$search
export PATH
tree=$root/$hash
say() { echo "machinectl $token $*"; }
say hello

become_agent() {
    say run
    # a daemon that runs has everything loaded
    case $verb in
    survey | apply)
        if [ -S "$socket" ]; then
            exec "$1" -IS "$tree/machinectl_agent/daemon/relay.py" "$socket" "$tree" "$verb"
        fi
        ;;
    esac
    exec "$1" -IS "$tree" "$verb" # all that it needs is in the tree: site would cost 4 ms
}

# Installed: the receiver wrote down which Python works. This path costs no Python start of its own.
if [ -f "$tree/interpreter" ]; then
    read -r python < "$tree/interpreter"
    if [ -x "$python" ]; then become_agent "$python"; fi
fi

# python3-minimal has no json, old platform-pythons are too old, some are built without ssl.
find_python() {
    for one in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 /usr/libexec/platform-python; do
        python=$("$one" -I -c "import sys, json, ssl, ctypes
if sys.version_info < (3, 9): sys.exit(1)
print(sys.executable)" 2>/dev/null </dev/null) && [ -x "$python" ] && return 0
    done
    return 1
}

has() { command -v "$1" >/dev/null 2>&1; }

try_packages() {
    for package in $packages; do
        echo "+ $* $package"
        $within "$@" "$package" && find_python && return 0
    done
    return 1
}

install_python() {
    within=
    if has timeout; then within="timeout $limit"; fi
    packages=python3
    if has apt-get; then
        DEBIAN_FRONTEND=noninteractive
        export DEBIAN_FRONTEND
        apt="apt-get -y -q -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 -o Acquire::Retries=1"
        # An installation that was killed earlier has to be finished first.
        if [ -n "$(dpkg --audit 2>/dev/null)" ]; then $within dpkg --configure -a; fi
        set -- $apt --no-install-recommends install
        try_packages "$@" && return 0
        echo "+ apt-get update"
        $within $apt update && try_packages "$@"
    elif has dnf; then
        packages="python3 python3.12 python3.11 python39"
        try_packages dnf -y -q install
    elif has yum; then
        packages="python3 python3.12 python3.11 python39"
        try_packages yum -y -q install
    elif has zypper; then
        packages="python3 python312 python311"
        try_packages zypper --non-interactive install
    elif has pacman; then
        packages=python
        try_packages pacman --noconfirm --needed -S || try_packages pacman --noconfirm --needed -Sy
    elif has apk; then
        try_packages apk add
    else
        echo "there is no apt-get, dnf, yum, zypper, pacman or apk"
        return 1
    fi
}

# The request was sent along for the short path; it comes again after the bundle. read takes no byte more.
IFS= read -r skipped
skipped=

if ! find_python; then
    os=unknown
    if [ -r /etc/os-release ]; then os=$(. /etc/os-release; echo "$ID ${VERSION_ID:-}"); fi
    say need-python "$os"
    install_python </dev/null 2>&1
    if ! find_python; then
        say no-python
        exit 1
    fi
    say python "$python"
fi

say need-bundle
"$python" -I -c "$receiver" "$root" "$hash" "$python" || exit 1
become_agent "$python"
