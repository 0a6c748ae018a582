#!/bin/sh
# Makes a certificate authority, and a certificate for each server, in the folder that you are in.
#
#     sh certificates.sh node1.example.org node2.example.org 192.0.2.3
#
# Each server gets its own HOST.pem and HOST.key (as server.pem and server.key), and everybody ca.pem. Keep ca.key to
# yourself.
set -eu
[ -e ca.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=mapreduce" -keyout ca.key -out ca.pem
for host; do
    case $host in *[!0-9.]*) name=DNS:$host ;; *) name=IP:$host ;; esac
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" -keyout "$host.key" |
        openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out "$host.pem" -extfile /dev/fd/3 3<<EXTENSIONS
subjectAltName = $name
extendedKeyUsage = serverAuth, clientAuth
EXTENSIONS
done
