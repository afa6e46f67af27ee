#!/bin/sh
# A web server and a client in a network of their own, under limits; the world reaches port 8080.
#
#   sh docs/examples/web-and-client.sh [IMAGE]
#
# IMAGE has nginx and curl, as `nginx` of Docker Hub has.
set -eu
image=${1:-nginx}

cgagent network create shop
cgagent run -d --name web --network shop --network-alias www --publish 8080:80 \
    --cpus 0.5 --memory 128m --pids-limit 64 --net-rate-out 50mbit \
    "$image" nginx -g 'daemon off;'

echo "== A client in the same network, by the server's name and by an alias"
cgagent run --rm --network shop --cpus 0.5 --memory 64m --net-rate-in 50mbit \
    "$image" curl -sS --retry 20 --retry-connrefused -o /dev/null -w '%{http_code} %{remote_ip}\n' \
    http://web/ http://www/

echo "== This host, by the container's address and by the published port"
address=$(cgagent inspect --format '{{.NetworkSettings.Networks.shop.IPAddress}}' web)
curl -sS -o /dev/null -w '%{http_code} %{remote_ip}\n' "http://$address/"
curl -sS -o /dev/null -w '%{http_code} %{remote_ip}\n' http://127.0.0.1:8080/
curl -sS -o /dev/null -w '%{http_code} %{remote_ip}\n' 'http://[::1]:8080/'

echo "== What is published, and what the server uses"
cgagent port web
cgagent stats --no-stream web

# cgagent rm -f web; cgagent network rm shop
