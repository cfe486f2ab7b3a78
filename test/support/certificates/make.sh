#!/bin/sh
# Made the certificates beside it, with OpenSSL 3. They are test data, valid for a hundred years:
#   ca       a CA; other-ca: one that the tests do not trust
#   server   of 127.0.0.1 and localhost, for servers and clients
#   expired  the same names and key as `server`, over since 2001
#   client   of `ca`, for clients; stranger: the same of `other-ca`
set -eu
cd "$(dirname "$0")"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/CN=TrivetMQ test $1" -days 36500 -out "$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
# issue NAME KEY CA EXTENSIONS [from to]
issue() {
  printf '%s\n' "$4" >"$1.ext"
  openssl req -new -key "$2.key" -subj "/CN=$1" -out "$1.csr"
  if [ $# -gt 4 ]; then
    mkdir -p issued && : >issued/index && echo 01 >issued/serial
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=issued/index\nnew_certs_dir=issued\nserial=issued/serial\nrand_serial=yes\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n' >issued/conf
    openssl ca -batch -notext -config issued/conf -cert "$3.pem" -keyfile "$3.key" -in "$1.csr" \
      -extfile "$1.ext" -startdate "$5" -enddate "$6" -out "$1.pem"
  else
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -days 36500 -extfile "$1.ext" -out "$1.pem"
  fi
}
names='subjectAltName=DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth,clientAuth'
authority ca
authority other-ca
key server
issue server server ca "$names"
issue expired server ca "$names" 20000101000000Z 20010101000000Z
key client
issue client client ca extendedKeyUsage=clientAuth
key stranger
issue stranger stranger other-ca extendedKeyUsage=clientAuth
rm -rf issued ./*.csr ./*.ext ./*.srl ca.key other-ca.key
