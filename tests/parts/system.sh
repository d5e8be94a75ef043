#!/bin/sh
# Debian packages that the tests and the demo need, installed where they are missing and we may.
set -eu
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need git git
need redis-server redis-server
need ssh openssh-client
need gpg gnupg
need gpgsm gpgsm
need docker-registry docker-registry
need buildah buildah
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
"${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then run=""; elif command -v sudo >/dev/null 2>&1; then run="sudo"; else
  echo "please install:$missing" >&2; exit 1
fi
echo "installing Debian packages:$missing" >&2
# Servers are started by the tests themselves: no package may start its own.
policy=/usr/sbin/policy-rc.d
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' | $run tee $policy >/dev/null; $run chmod +x $policy; made=1; }
$run apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -z "${made:-}" ] || $run rm -f $policy
