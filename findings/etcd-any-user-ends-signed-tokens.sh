#!/usr/bin/env bash
# A client of etcd's JSON gateway logs in, then an operator adds a user that has nothing to do with it: with
# etcd's own tokens (--auth-token simple, the default) and with signed ones (--auth-token jwt,...).
#
# Expected: a token is good until its time to live is over; one that is no good is refused as
#   unauthenticated (gRPC's code 16), and the client logs in anew.
# Seen: with jwt each token that was given before the last change of any user or role is refused from then
#   on, with code 3 (invalid argument, HTTP 400) and "revision of auth store is old", which is also the code
#   for a wrong password. Simple tokens go on. A new login gives a token that works.
# Why it matters: a client that logs in again on code 16 alone, or takes code 3 for a mistake of its own,
#   works for months and stops for good on the day that any user is added. Its leases run out then.
#
# Needs Debian 12 with apt's lists (apt-get update), and curl, openssl and jq.
set -euo pipefail
. "$(dirname "$0")/support.sh"

# Unpacked and not installed: a package that is there already stays as it is.
apt-get -qq -o APT::Sandbox::User=root download etcd-server=3.4.23-4+b4
dpkg -x ./etcd-server*.deb root
root/usr/bin/etcd --version | sed -n 1p
openssl genrsa -out key 2048 2>openssl.log
openssl rsa -in key -pubout -out pub 2>>openssl.log

call() { curl -s "$url/v3/$1" -d "$2" -H "Authorization: ${token-}"; }
login() { call auth/authenticate '{"name":"root","password":"r"}' | jq -r .token; }
read_with() { call kv/range '{"key":"YQ=="}' | jq -r 'if .error then "\(.code) \(.error)" else "served" end'; }

run() {
  local peer
  url=http://127.0.0.1:$((20000 + RANDOM % 10000)) peer=http://127.0.0.1:$((10000 + RANDOM % 10000)) token=
  root/usr/bin/etcd --data-dir "$1" --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
    --auth-token "$2" >"$1.log" 2>&1 &
  until curl -sf "$url/health" | grep -q '"true"'; do kill -0 $!; sleep 0.1; done
  call auth/user/add '{"name":"root","password":"r"}' >>calls
  call auth/role/add '{"name":"root"}' >>calls
  call auth/user/grant '{"user":"root","role":"root"}' >>calls
  call auth/enable '{}' >>calls
  token=$(login)
  echo "$1, a token: $(read_with)"
  call auth/user/add '{"name":"other","password":"o"}' >>calls
  echo "$1, after another user was added: $(read_with)"
  token=
  token=$(login)
  echo "$1, a new token: $(read_with)"
}

{ run simple simple; run jwt jwt,pub-key=pub,priv-key=key,sign-method=RS256,ttl=1h; } | tee seen
as_described <<'SEEN'
simple, a token: served
simple, after another user was added: served
simple, a new token: served
jwt, a token: served
jwt, after another user was added: 3 etcdserver: revision of auth store is old
jwt, a new token: served
SEEN
