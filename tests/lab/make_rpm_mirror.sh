#!/bin/bash
# Makes a signed copy of what download.docker.com looks like to dnf: tiny packages under Docker's names, whose
# dockerd and docker only tell their version.
#     make_rpm_mirror.sh FOLDER RELEASEVER VERSION…        FOLDER/linux/centos is the repository
set -eu
mirror=$1/linux/centos release=$2
shift 2
arch=$(uname -m) build=/var/tmp/rpm-build
export GNUPGHOME=/root/mirror-key
packages=$mirror/$release/$arch/stable
rm -rf $build && mkdir -p $build "$packages"
if [ ! -d $GNUPGHOME ]; then
    mkdir -m 700 $GNUPGHOME
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key 'mirror <nobody@example.org>' rsa2048
fi

spec() { # PACKAGE EPOCH VERSION PROGRAM REQUIRES…
    local package=$1 epoch=$2 version=$3 program=$4
    shift 4
    cat >$build/$package.spec <<END
Name: $package
Epoch: $epoch
Version: $version
Release: 1.el9
AutoReqProv: no
Summary: $package for a test
License: none
$(for one in "$@"; do echo "Requires: $one"; done)
%description
$package for a test
%install
mkdir -p %{buildroot}/usr/bin
printf '#!/bin/sh\necho Docker version $version, build test\n' >%{buildroot}/usr/bin/$program
chmod 755 %{buildroot}/usr/bin/$program
%files
/usr/bin/$program
END
    rpmbuild --quiet -bb --define "_topdir $build" --define "_rpmdir $packages" \
        --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" $build/$package.spec
}

for version in "$@"; do
    spec docker-ce 3 "$version" dockerd docker-ce-cli containerd.io
    spec docker-ce-cli 1 "$version" docker
done
spec containerd.io 0 1.7.1 containerd
rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name mirror" --addsign "$packages"/*.rpm >/dev/null
createrepo_c --quiet "$packages"
gpg --batch --quiet --armor --export >"$mirror/gpg"
rm -rf $build
