// Ports: free while the broker is stopped, answering while it runs. Advertised addresses: what
// clients are told leads here.
import { lookup } from 'node:dns/promises'
import { connect, createServer } from 'node:net'
import type { Config } from '../../config.ts'
import { isLoopback, isWildcard } from '../../exposure.ts'
import { type PlannedListener, plannedListeners, type ServerRole } from '../../listening.ts'
import { type Finding, failed, ok, warning } from './finding.ts'

const DIAL_MS = 3_000

export async function checkListeners(
  role: ServerRole,
  config: Config,
  isRunning: boolean,
): Promise<readonly Finding[]> {
  const planned = plannedListeners(role, config).filter(({ path }) => path === undefined)
  const ports = planned.map((one) => (isRunning ? answers(one) : isFree(one)))
  const told = planned.map((one) => advertised(one, config, isRunning))
  return (await Promise.all([...ports, ...told])).flat()
}

async function answers({ protocol, host, port }: PlannedListener): Promise<readonly Finding[]> {
  if (port === 0) return []
  const dialled = isWildcard(host) ? '127.0.0.1' : host
  const error = await dial(dialled, port)
  if (error === undefined) return [ok('port', `${protocol} answers at ${dialled}:${port}`)]
  return [
    failed(
      'port',
      `the broker runs, and ${protocol} does not answer at ${dialled}:${port} (${error})`,
      'it may run with other settings than these: give doctor the same file, environment and flags',
    ),
  ]
}

async function isFree(listener: PlannedListener): Promise<readonly Finding[]> {
  const { protocol, host, port, hostSetting } = listener
  const error = await bind(host, port)
  const portSetting = hostSetting.replace(/host$/, 'port')
  if (error === undefined) {
    return port === 0 ? [] : [ok('port', `${host}:${port} is free for ${protocol}`)]
  }
  const where = `${host}:${port} cannot be had for ${protocol} (${error})`
  if (error === 'EADDRINUSE') {
    const advice = `another process listens there: stop it (ss -ltnp shows it), or set ${portSetting}`
    return [failed('port', where, advice)]
  }
  if (error === 'EACCES') {
    return [failed('port', where, `ports below 1024 need rights: set ${portSetting} above it`)]
  }
  return [failed('port', where, `${hostSetting} has to be an address of this machine`)]
}

async function advertised(
  { protocol, host, port }: PlannedListener,
  config: Config,
  isRunning: boolean,
): Promise<readonly Finding[]> {
  const told = config[protocol].advertisedHost
  if (told === undefined) return []
  const what = `clients of ${protocol} are told ${told}`
  const setting = `${protocol}.advertisedHost`
  let address: string
  try {
    address = (await lookup(told)).address
  } catch {
    const text = `${what}, a name that this machine does not know`
    return [failed('advertised', text, `correct ${setting}, or the name server (DNS)`)]
  }
  if (isLoopback(address) && !isLoopback(host)) {
    const text = `${what}, which is ${address}: those of other machines look for the broker on themselves`
    return [failed('advertised', text, `set ${setting} to what other machines reach`)]
  }
  if (!isRunning || port === 0) return [ok('advertised', `${what} (${address})`)]
  const error = await dial(told, port)
  if (error === undefined) return [ok('advertised', `${what}, and ${told}:${port} answers`)]
  return [
    warning(
      'advertised',
      `${what}, and from this machine ${told}:${port} does not answer (${error})`,
      `normal behind some NATs; try it from a machine of a client, else correct ${setting}`,
    ),
  ]
}

/** undefined: it answers; else why not. */
export function dial(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: DIAL_MS })
    const done = (error: string | undefined): void => {
      socket.destroy()
      resolve(error)
    }
    socket.once('connect', () => done(undefined))
    socket.once('timeout', () => done('no answer'))
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
  })
}

/** undefined: it could be bound; else why not. */
function bind(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}
