#!/usr/bin/env bash
# A client with a last will is replaced by a new connection of the same client id, on mosquitto (C) and on
# aedes (Node), with mqtt.js as the client.
#
# Expected: the will is published. The old connection ended without a DISCONNECT, which is what a will is
#   for (MQTT 3.1.1, 3.1.2.5), and MQTT 5 says of just this case that the will of the old connection is sent
#   unless the new one has Clean Start 0 and the will has a delay (3.1.4).
# Seen: mosquitto publishes it only when the take-over ends the session as well. For a session that goes on
#   (3.1.1 without clean session; 5 with Clean Start 0 and a session expiry; no will delay in either) the
#   will is dropped and never sent, though the same client's will is sent when its connection is cut and
#   nothing takes over. aedes sends it each time.
# Why it matters: devices with a durable session come back over a new network before the old connection
#   is found dead, so the take-over is how most of their connections end. What is built on wills ("offline"
#   followed by "online", a lock let go, a count of sessions) sees an end on one broker and none on the
#   other, and it depends on a flag of the session that seems to have nothing to do with wills.
#
# Needs Debian 12 with apt's lists (apt-get update), and node and npm.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" aedes@1.2.0 mqtt@5.16.0 >npm.log
# Unpacked and not installed: a package that is there already stays as it is.
apt-get -qq -o APT::Sandbox::User=root download mosquitto=2.0.11-1.2+deb12u2 libcap2 libdlt2 libnsl2 \
  libtirpc3 libwrap0
for package in ./*.deb; do dpkg -x "$package" root; done
libraries=$(printf '%s:' "$temp"/root/lib/*-linux-gnu "$temp"/root/usr/lib/*-linux-gnu)

cat >aedes.mjs <<'JS'
import net from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
net.createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
JS
cat >take-over.mjs <<'JS'
import { setTimeout as pause } from 'node:timers/promises'
import mqtt from 'mqtt'

const [, , name, port, ...versions] = process.argv
const url = `mqtt://127.0.0.1:${port}`
const topic = 'state'

// What a watcher of the topic sees, up to one second after the second connection has said "back".
async function states(end, protocolVersion, isKept) {
  const watcher = await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0 })
  const seen = []
  watcher.on('message', (_topic, payload) => seen.push(String(payload)))
  await watcher.subscribeAsync(topic, { qos: 1 })

  const clientId = `device-${Math.random()}`
  const options = { protocolVersion, clientId, clean: !isKept, reconnectPeriod: 0 }
  if (protocolVersion === 5 && isKept) options.properties = { sessionExpiryInterval: 60 }
  const will = { topic, payload: 'gone', qos: 1 }
  const first = await mqtt.connectAsync(url, { ...options, will })
  const closed = new Promise((done) => first.once('close', done))
  first.on('error', () => {})
  if (end === 'cut') {
    first.stream.destroy()
    await closed
    await pause(1000)
  }
  const second = await mqtt.connectAsync(url, options)
  await closed
  await second.publishAsync(topic, 'back', { qos: 1 })
  await pause(1000)
  await Promise.all([second.endAsync(), watcher.endAsync()])
  return seen.join(', ')
}

for (const version of versions.map(Number)) {
  for (const isKept of [false, true]) {
    for (const end of ['cut', 'taken over']) {
      const session = isKept ? 'kept' : 'clean'
      const mqttVersion = version === 5 ? '5' : '3.1.1'
      console.log(`${name}, MQTT ${mqttVersion}, session ${session}, ${end}: ${await states(end, version, isKept)}`)
    }
  }
}
JS

mosquitto_port=$(free_port)
# Without a file of settings mosquitto listens on loopback alone.
LD_LIBRARY_PATH=$libraries root/usr/sbin/mosquitto -p "$mosquitto_port" 2>mosquitto.log &
listening "$mosquitto_port"
aedes_port=$(free_port)
node aedes.mjs "$aedes_port" &
listening "$aedes_port"

{
  dpkg-deb --show --showformat='${Package} ${Version}\n' mosquitto_*.deb
  for package in aedes mqtt; do
    echo "$package $(node -p "JSON.parse(fs.readFileSync('node_modules/$package/package.json')).version")"
  done
  timeout 60 node take-over.mjs mosquitto "$mosquitto_port" 4 5
  timeout 60 node take-over.mjs aedes "$aedes_port" 4
} | tee seen

as_described <<'TEXT'
mosquitto 2.0.11-1.2+deb12u2
aedes 1.2.0
mqtt 5.16.0
mosquitto, MQTT 3.1.1, session clean, cut: gone, back
mosquitto, MQTT 3.1.1, session clean, taken over: gone, back
mosquitto, MQTT 3.1.1, session kept, cut: gone, back
mosquitto, MQTT 3.1.1, session kept, taken over: back
mosquitto, MQTT 5, session clean, cut: gone, back
mosquitto, MQTT 5, session clean, taken over: gone, back
mosquitto, MQTT 5, session kept, cut: gone, back
mosquitto, MQTT 5, session kept, taken over: back
aedes, MQTT 3.1.1, session clean, cut: gone, back
aedes, MQTT 3.1.1, session clean, taken over: gone, back
aedes, MQTT 3.1.1, session kept, cut: gone, back
aedes, MQTT 3.1.1, session kept, taken over: gone, back
TEXT
