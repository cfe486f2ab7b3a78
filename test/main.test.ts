import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import test from 'ava'
import { plainEnv, TRIVET } from './support/server.ts'
import { ROOT } from './support/sources/sources.ts'
import { tempDir } from './support/temp-dir.ts'

const MAIN = new URL('../src/main.js', import.meta.url).href
const FREE_PORTS = [
  '--remoting.port',
  '--mqtt.port',
  '--amqp.port',
  '--http.port',
  '--name-server.port',
].flatMap((flag) => [flag, '0'])

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function run(args: readonly string[], input?: string): Promise<Ended> {
  const child = spawn(process.execPath, args, { cwd: ROOT, env: plainEnv() })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

for (const [what, failure, evt] of [
  ['a rejection without a handler', "Promise.reject(new Error('boom'))", 'unhandled_rejection'],
  [
    'an exception that is not caught',
    "setImmediate(() => { throw new Error('boom') })",
    'uncaught_exception',
  ],
] as const) {
  test(`${what} is logged and ends the server with a code that says so`, async (t) => {
    const argv = JSON.stringify(['start', '--data-dir', await tempDir(t), '--json', ...FREE_PORTS])
    // The server says on standard output when it runs; then the defect strikes.
    const script = `
      const write = process.stdout.write.bind(process.stdout)
      process.stdout.write = (...args) => { ${failure}; return write(...args) }
      import('${MAIN}').then(({ main }) => main(${argv}))`
    const ended = await run(['-e', script])
    t.is(ended.code, 1)
    const lines = ended.stderr.split('\n').filter((line) => line.startsWith('{'))
    const last = JSON.parse(lines.at(-1)!) as { evt: string; err: { message: string } }
    t.is(last.evt, `process.${evt}`)
    t.is(last.err.message, 'boom')
  })
}

test('a pipe that is closed early ends a command quietly', async (t) => {
  const script = `'${process.execPath}' '${TRIVET}' config | head -n 1; exit \${PIPESTATUS[0]}`
  const child = spawn('bash', ['-c', script], { cwd: ROOT, env: plainEnv() })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  t.is(code, 0)
  t.is(stderr, '')
})

test('hash-password reads a pipe, and prints nothing else', async (t) => {
  const ended = await run([TRIVET, 'hash-password'], 'open sesame\n')
  t.is(ended.code, 0)
  t.regex(ended.stdout, /^scrypt:32768:8:1:[^:]+:[^:]+\n$/)
  t.is(ended.stderr, '')
})

// /dev/full answers every write as a full disk does.
const testFull = process.platform === 'linux' ? test : test.skip

testFull('a log whose disk is full does not end the server', async (t) => {
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  const args = [TRIVET, 'start', '--data-dir', await tempDir(t), '--json', ...FREE_PORTS]
  const child = spawn(process.execPath, [...args, '--log-level', 'trace'], {
    cwd: ROOT,
    env: plainEnv(),
    stdio: ['ignore', 'pipe', full],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  const said = await Promise.race([once(child.stdout!, 'data'), ended])
  t.regex(String(said[0]), /"addresses"/)
  // Stopping is told in the log, too.
  child.kill('SIGTERM')
  t.deepEqual(await ended, [0, null])
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends a command that waits for its input, with the code of shells`, async (t) => {
    const script = `process.stdin.once('newListener', () => console.log('reading'))
      import('${MAIN}').then(({ main }) => main(['pub', 'orders', '-']))`
    const child = spawn(process.execPath, ['-e', script], { cwd: ROOT, env: plainEnv() })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    const ended = once(child, 'exit')
    child.kill(signal)
    t.deepEqual(await ended, [code, null])
  })
}
