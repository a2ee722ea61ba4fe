#!/bin/bash
# Makes a signed copy of what download.docker.com looks like to apt, of the distribution's own docker.io:
# real programs, units and maintainer scripts under Docker's package names, in two versions.
#     make_apt_mirror.sh FOLDER CODENAME VERSION…        FOLDER/linux/debian is the repository
set -eu
mirror=$1/linux/debian codename=$2
shift 2
export DEBIAN_FRONTEND=noninteractive GNUPGHOME=/root/mirror-key
command -v gpg apt-ftparchive >/dev/null || apt-get install -qq -y --no-install-recommends gnupg apt-utils >/dev/null

build=/var/tmp/mirror-build pool=$mirror/dists/$codename/pool/stable
rm -rf $build && mkdir -p $build/engine $build/cli/DEBIAN $build/containerd "$pool"
cd $build
apt-get download -qq docker.io containerd runc 2>/dev/null
dpkg-deb -R docker.io_*.deb engine
dpkg-deb -R containerd_*.deb containerd
dpkg-deb -x runc_*.deb containerd
arch=$(dpkg --print-architecture)

mkdir -p cli/usr/bin && mv engine/usr/bin/docker cli/usr/bin/
rm -rf engine/DEBIAN/md5sums engine/usr/share/doc containerd/DEBIAN/md5sums containerd/usr/share

pack() { dpkg-deb --root-owner-group -Znone -b "$1" "$pool" >/dev/null; }

control() { # FOLDER PACKAGE VERSION, more fields on stdin
    { printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\n' "$2" "$3" "$arch"
      cat; printf 'Description: %s for a test\n' "$2"; } >"$1/DEBIAN/control"
}

for version in "$@"; do
    control engine docker-ce "$version" <<END
Depends: containerd.io, docker-ce-cli, iptables, libdevmapper1.02.1, libsystemd0
Conflicts: docker.io
Replaces: docker.io
END
    control cli docker-ce-cli "$version" <<END
Conflicts: docker.io
Replaces: docker.io
END
    pack engine
    pack cli
done
control containerd containerd.io 1.6.20-1 <<END
Provides: containerd, runc
Conflicts: containerd, runc
Replaces: containerd, runc
END
pack containerd

cd "$mirror"
binary=dists/$codename/stable/binary-$arch
mkdir -p "$binary"
apt-ftparchive packages dists/"$codename"/pool >"$binary/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Suite="$codename" -o APT::FTPArchive::Release::Codename="$codename" \
    -o APT::FTPArchive::Release::Components=stable -o APT::FTPArchive::Release::Architectures="$arch" \
    release dists/"$codename" >Release.new
mv Release.new dists/"$codename"/Release
if [ ! -d $GNUPGHOME ]; then
    mkdir -m 700 $GNUPGHOME
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key 'mirror <nobody@example.org>' rsa2048
fi
gpg --batch --quiet --armor --export >gpg
gpg --batch --quiet --yes --clearsign -o dists/"$codename"/InRelease dists/"$codename"/Release
rm -rf $build
