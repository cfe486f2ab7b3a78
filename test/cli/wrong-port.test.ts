// What the command line says at a port of another protocol, or with TLS that does not fit.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import { runCommandLine } from '../../src/cli/run.ts'
import { pemFile, SERVER_TLS } from '../support/certificates.ts'
import { RecordedTerminal } from '../support/recorded-terminal.ts'
import { plainEnv, startServer, type TestServer, TRIVET } from '../support/server.ts'

const LEGS = ['native', 'mqtt', 'amqp'] as const

/** The flags that say where the server is. */
const placeOf = (server: TestServer, leg: (typeof LEGS)[number]): string[] =>
  leg === 'native'
    ? ['-n', server.address('nameServer')]
    : ['--via', leg, '--at', server.address(leg)]

async function pub(...flags: string[]): Promise<{ code: number; errors: string }> {
  const terminal = new RecordedTerminal()
  const code = await runCommandLine(['pub', 'orders', 'x', ...flags], {
    terminal,
    env: {},
    signal: new AbortController().signal,
    roles: { run: () => Promise.reject(new Error('no role here')) },
  })
  return { code, errors: terminal.errors }
}

test('a port of another protocol that is given as a name server is named, with what to do', async (t) => {
  const server = await startServer(t)
  const { code, errors } = await pub('-n', server.address('amqp'))
  t.is(code, 1)
  t.regex(
    errors,
    /what listens at 127\.0\.0\.1:\d+ sent something else than RocketMQ's protocol.*--name-server/,
  )
})

for (const leg of LEGS) {
  test(`--tls at a port without TLS is told as that over ${leg}`, async (t) => {
    const server = await startServer(t)
    const { code, errors } = await pub(...placeOf(server, leg), '--tls')
    t.is(code, 1)
    t.regex(errors, /\((?:cannot connect to .*: )?it .* no TLS\)/)
  })

  test(`a certificate of a CA that is not trusted is told as that over ${leg}`, async (t) => {
    const server = await startServer(t, { config: { tls: SERVER_TLS } })
    const { code, errors } = await pub(...placeOf(server, leg), '--tls')
    t.is(code, 1)
    t.regex(errors, /its certificate is of no CA that is trusted here; .*--tls-ca/)
  })
}

test('over AMQP an address is no name of a server in TLS', async (t) => {
  const server = await startServer(t, { config: { tls: SERVER_TLS } })
  const { stderr, code } = await trivet(
    ...['pub', 'orders', 'x', ...placeOf(server, 'amqp'), '--tls-ca', pemFile('ca.pem')],
  )
  t.deepEqual([code, stderr], [0, ''])
})

async function trivet(...words: string[]): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [TRIVET, ...words], { env: plainEnv() })
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const [code] = await once(child, 'exit')
  return { code, stderr }
}
