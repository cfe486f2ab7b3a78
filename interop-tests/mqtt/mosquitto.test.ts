// mosquitto_pub and mosquitto_sub, as Debian's mosquitto-clients brings them.
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { startMqtt } from '../../test/support/mqtt/mqtt.ts'
import { mosquittoMissing } from '../support/mosquitto.ts'
import { needing } from '../support/needing.ts'

const run = promisify(execFile)
const PROTOCOLS = ['mqttv31', 'mqttv311', 'mqttv5'] as const

const testMosquitto = needing(
  "every test with mosquitto's clients",
  await mosquittoMissing(),
  'at once',
)

/** A subscriber that is subscribed when this settles; `lines` once it has ended by itself. */
async function subscriber(t: ExecutionContext, args: readonly string[]) {
  // Line by line, or its words come only when it ends.
  const command = ['-oL', 'mosquitto_sub', '-d', '-W', '150', ...args]
  const child: ChildProcessWithoutNullStreams = spawn('stdbuf', command)
  t.teardown(() => child.kill('SIGKILL'))
  // Its last words may come after its exit.
  const ended = once(child, 'close')
  let out = ''
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text
  })
  const subscribed = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (out.includes('Subscribed (mid')) resolve()
    })
    child.on('close', () => reject(new Error(`mosquitto_sub ended early:\n${out}${complaints}`)))
  })
  await subscribed
  const lines = async (): Promise<string[]> => {
    await ended
    return out.split('\n').filter((line) => line.startsWith('> '))
  }
  return { lines }
}

for (const protocol of PROTOCOLS) {
  testMosquitto(`${protocol}: mosquitto_pub to mosquitto_sub at every QoS`, async (t) => {
    const { port } = await startMqtt(t)
    const at = ['-p', `${port}`, '-V', protocol]
    const sub = await subscriber(t, [...at, '-t', 'm/#', '-q', '2', '-C', '3', '-F', '> %t %q %p'])
    for (const qos of ['0', '1', '2']) {
      await run('mosquitto_pub', [...at, '-t', `m/${qos}`, '-m', `hello ${qos}`, '-q', qos])
    }
    t.deepEqual(await sub.lines(), ['> m/0 0 hello 0', '> m/1 1 hello 1', '> m/2 2 hello 2'])
  })

  testMosquitto(
    `${protocol}: mosquitto_sub finds a retained message and a backlog of its session`,
    async (t) => {
      const { port } = await startMqtt(t)
      const at = ['-p', `${port}`, '-V', protocol]
      const kept = [...at, '-i', 'kept', '-c', '-q', '1', '-t', 'b/#', '-F', '> %t %p']
      const expiry = protocol === 'mqttv5' ? ['-x', '100'] : []
      await run('mosquitto_pub', [...at, '-t', 'b/r', '-m', 'retained', '-r', '-q', '1'])
      const first = await subscriber(t, [...kept, ...expiry, '-C', '1'])
      t.deepEqual(await first.lines(), ['> b/r retained'])
      for (const text of ['one', 'two']) {
        await run('mosquitto_pub', [...at, '-t', 'b/x', '-m', text, '-q', '1'])
      }
      const second = await subscriber(t, [...kept, ...expiry, '-C', '3'])
      const lines = await second.lines()
      t.deepEqual(lines.toSorted(), ['> b/r retained', '> b/x one', '> b/x two'].toSorted())
      t.true(lines.indexOf('> b/x one') < lines.indexOf('> b/x two'))
    },
  )
}

testMosquitto('mqttv5: properties of mosquitto_pub reach mosquitto_sub', async (t) => {
  const { port } = await startMqtt(t)
  const at = ['-p', `${port}`, '-V', 'mqttv5']
  const sub = await subscriber(t, [...at, '-t', 'p', '-C', '1', '-F', '> %C %R %D %P %p'])
  const props = ['content-type', 'text/plain', 'response-topic', 'back', 'correlation-data', 'c1']
  const args = [0, 2, 4].flatMap((i) => ['-D', 'publish', props[i]!, props[i + 1]!])
  await run('mosquitto_pub', [
    ...[...at, '-t', 'p', '-m', 'x', ...args],
    ...['-D', 'publish', 'user-property', 'k', 'v'],
  ])
  t.deepEqual(await sub.lines(), ['> text/plain back c1 k:v x'])
})
