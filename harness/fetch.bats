#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # fixture.bash sets them
# The download, from a signed mirror on this machine: cut short, interrupted, forged, gone.

load fixture

setup_file() {
	local m=$BATS_FILE_TMPDIR/mirror dist=$BATS_FILE_TMPDIR/mirror/dists/trixie
	local index
	index=$dist/main/binary-$(dpkg --print-architecture)
	mkdir -p "$m/pool" "$index"
	package "$BATS_FILE_TMPDIR/pool"
	cp "$BATS_FILE_TMPDIR"/pool/*.deb "$m/pool/"
	cd "$m" || return
	{
		dpkg-deb -f pool/*.deb
		echo "Filename: $(echo pool/*.deb)"
		echo "Size: $(stat -c %s pool/*.deb)"
		echo "SHA256: $(sha256sum pool/*.deb | cut -d ' ' -f 1)"
	} >"$index/Packages"
	cd "$dist" || return
	{
		echo 'Origin: Debian'
		echo 'Suite: trixie'
		echo 'Codename: trixie'
		echo "Architectures: $(dpkg --print-architecture)"
		echo 'Components: main'
		echo "Date: $(date -Ru)"
		echo 'SHA256:'
		echo " $(sha256sum main/*/Packages | cut -d ' ' -f 1) $(stat -c %s main/*/Packages) $(echo main/*/Packages)"
	} >Release
	export GNUPGHOME=$BATS_FILE_TMPDIR/gnupg
	mkdir -m 700 "$GNUPGHOME"
	for key in good bad; do
		gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key "$key@localhost" ed25519 sign never
		gpg --batch --export "$key@localhost" >"$BATS_FILE_TMPDIR/$key.gpg"
	done
	gpg --batch --quiet --local-user good@localhost --clearsign -o InRelease Release
	gpgconf --kill all
	python3 "$BATS_TEST_DIRNAME/server.py" "$m" "$BATS_FILE_TMPDIR/port" >/dev/null 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/server.pid"
	until [ -e "$BATS_FILE_TMPDIR/port" ]; do sleep 0.1; done
}

teardown_file() { kill "$(cat "$BATS_FILE_TMPDIR/server.pid")"; }

setup() {
	setup_project
	rm -r build
	mirror=$BATS_FILE_TMPDIR/mirror
	rm -f "$mirror/cut" "$mirror/slow"
	point_apt_at "http://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/port")"
	export KEYRING=$BATS_FILE_TMPDIR/good.gpg
	deb=build/6.12/linux-source-6.12_6.12.9-1_all.deb
}

# The machine's own apt, as the scripts will find it.
point_apt_at() {
	local release
	release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	echo "deb $1 $release main" >"$BATS_TEST_TMPDIR/sources.list"
	cat >"$BATS_TEST_TMPDIR/apt.conf" <<-EOF
		Dir::Etc::SourceList "$BATS_TEST_TMPDIR/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Acquire::http::Proxy::127.0.0.1 "DIRECT";
		Acquire::http::Proxy::127.0.0.2 "DIRECT";
	EOF
	export APT_CONFIG=$BATS_TEST_TMPDIR/apt.conf
}

intact() { (cd build/6.12 && sha256sum -c source); }

@test "the package comes from the machine's mirror, verified, and is fetched once" {
	mkdir build
	sealed build -- make get
	intact
	run -0 make get
	[ -z "$output" ]
}

@test "make lay UPDATE=1 asks the mirror again" {
	make lay
	run -0 sealed build -- make lay UPDATE=1
	intact
	sed -i 's,127.0.0.1 "DIRECT",127.0.0.1 "http://127.0.0.1:9",' "$APT_CONFIG"
	run ! make lay UPDATE=1
	has "could be asked for a newer linux-source-6.12"
}

@test "a tree is all that is needed: without network it is used as it is" {
	make lay
	rm "$deb"
	point_apt_at http://127.0.0.1:9
	make lay
}

@test "no network: said plainly, and nothing is left half-done" {
	point_apt_at http://127.0.0.1:9
	run ! make lay
	has "no mirror of this machine offers linux-source-6.12"
	has "127.0.0.1:9"
	[ ! -e "$tree" ]
	[ ! -e build/6.12/source ]
}

@test "no Debian mirror in the machine's sources" {
	: >"$BATS_TEST_TMPDIR/sources.list"
	run ! make get
	has "no Debian mirror"
}

@test "lists of others beside the machine's mirror are no matter" {
	local release
	release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	sed -i "1i deb http://127.0.0.2:9 $release stable\ndeb [arch=all] http://127.0.0.2:9/x stable main" \
		"$BATS_TEST_TMPDIR/sources.list"
	make get
	intact
}

@test "the machine's settings of apt don't choose for us, and nothing of it runs" {
	cat >>"$APT_CONFIG" <<-EOT
		APT::Default-Release "bookworm";
		APT::Update::Post-Invoke { "touch $BATS_TEST_TMPDIR/ran"; };
	EOT
	make get
	intact
	[ ! -e "$BATS_TEST_TMPDIR/ran" ]
}

@test "an entry keeps its options and its key" {
	unset KEYRING
	sed -i "s,^deb ,	deb	[check-valid-until=no signed-by=$BATS_FILE_TMPDIR/good.gpg]	," \
		"$BATS_TEST_TMPDIR/sources.list"
	make get
	intact
	grep -q check-valid-until=no build/6.12/apt/parts/mirrors.list
}

@test "a deb822 entry keeps its options and its key" {
	unset KEYRING
	mkdir "$BATS_TEST_TMPDIR/parts"
	printf '%s\n' 'Enabled: yes' 'Types: deb deb-src' "URIs: http://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/port")/" \
		'Suites: trixie' 'Components: main' 'Check-Valid-Until: no' "Signed-By: $BATS_FILE_TMPDIR/good.gpg" \
		>"$BATS_TEST_TMPDIR/parts/mine.sources"
	: >"$BATS_TEST_TMPDIR/sources.list"
	echo "Dir::Etc::SourceParts \"$BATS_TEST_TMPDIR/parts\";" >>"$APT_CONFIG"
	make get
	intact
	grep -qx 'Check-Valid-Until: no' build/6.12/apt/parts/mirrors.sources
}

@test "a key that nobody named: the way out is" {
	unset KEYRING
	run ! make get
	has "KEYRING="
}

@test "a mirror signed by another key is not believed" {
	KEYRING=$BATS_FILE_TMPDIR/bad.gpg run ! make get
	has "offers"
	[ ! -e "$deb" ]
}

@test "a download that is cut short fails, and the next run gets it whole" {
	touch "$mirror/cut"
	run ! make get
	has "the download failed"
	[ ! -e "$deb" ]
	rm "$mirror/cut"
	make get
	intact
}

@test "a package that was damaged on disk is fetched again" {
	make get
	truncate -s 100000 "$deb"
	make lay
	intact
}

@test "^C during the download, and then a run that goes on" {
	touch "$mirror/slow"
	run ! interrupted_at 'build/6.12/download/*.deb' make get
	[ ! -e "$deb" ]
	rm "$mirror/slow"
	make lay
	intact
}

@test "a full disk during the download is named, and with room made the same command goes on" {
	[ "$(id -u)" -eq 0 ] || skip "mounting a small tmpfs takes root"
	mkdir build
	mount -t tmpfs -o size=3m tmpfs build || skip "no tmpfs can be mounted here"
	run ! make get
	has "is full"
	mount -o remount,size=64m build
	run make get
	intact
	umount build
	[ "$status" -eq 0 ]
}
