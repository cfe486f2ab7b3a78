// Clients behind HAProxy, which says whose connections it passes on by the PROXY protocol.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import mqtt, { MqttClient } from 'mqtt'
import { pem, SERVER_TLS } from '../../test/support/certificates.ts'
import { cheapHash } from '../../test/support/cheap-password.ts'
import { freePort, isFree, spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { needing } from '../support/needing.ts'

const isThere = spawnSync('haproxy', ['-v']).error === undefined
const testProxy = needing(
  'clients behind HAProxy',
  isThere ? undefined : 'haproxy is not installed',
)

/** @returns the port of the proxy */
async function startProxy(t: ExecutionContext, header: string, to: string): Promise<number> {
  const port = await freePort()
  const file = join(await tempDir(t), 'haproxy.cfg')
  const lines = [
    ...['defaults', 'mode tcp', 'timeout connect 5s', 'timeout client 1m', 'timeout server 1m'],
    ...['listen mqtt', `bind 127.0.0.1:${port}`, `server trivet ${to} ${header}`],
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  const proxy: ChildProcess = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
  t.teardown(async () => {
    proxy.kill('SIGKILL')
    if (proxy.exitCode === null && proxy.signalCode === null) await once(proxy, 'exit')
  })
  await eventually(async () => !(await isFree(port)))
  return port
}

for (const header of ['send-proxy', 'send-proxy-v2']) {
  testProxy(`by ${header} the broker knows the address of a client`, async (t) => {
    const server = await spawnServer(t, {
      config: {
        logLevel: 'debug',
        tls: SERVER_TLS,
        proxyProtocol: { from: ['127.0.0.1'] },
        users: { sensor: { password: cheapHash('right'), admin: true } },
      },
    })
    const port = await startProxy(t, header, server.address('mqtt'))
    const login = { username: 'sensor', password: 'right', reconnectPeriod: 0 }
    const secured = await mqtt.connectAsync(`mqtts://127.0.0.1:${port}`, {
      ...login,
      ca: pem('ca.pem'),
    })
    t.teardown(() => secured.end(true))
    t.true(secured.connected)

    const from = { host: '127.0.0.1', port, localAddress: '127.0.0.9' }
    const wrong = new MqttClient(() => connect(from), { ...login, password: 'wrong' })
    wrong.on('error', () => {})
    t.teardown(() => wrong.end(true))
    const refused = /"mqtt\.connect_refused"[^\n]*"remote":"127\.0\.0\.9"/
    t.true(await eventually(async () => refused.test(server.stderr)))
  })
}
