// A server that a benchmark runs beside ours: a child process on a loopback port of its own, in a
// directory that goes with it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface Peer {
  readonly name: string
  readonly port: number
  /** 0 when its CPU time cannot be told from others'. */
  readonly pid: number
  stop(): Promise<void>
}

const READY_MS_MAX = 60_000

export function isInstalled(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export const peerDirectory = (name: string): string =>
  mkdtempSync(join(tmpdir(), `trivet-bench-${name}-`))

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

export async function startPeer(options: {
  name: string
  directory: string
  port: number
  command: string
  args: readonly string[]
  env?: Record<string, string>
}): Promise<Peer> {
  const { name, directory, port, command, args } = options
  const child = spawn(command, args, {
    cwd: directory,
    env: { ...process.env, ...options.env },
    stdio: 'ignore',
    detached: true,
  })
  await untilOpen(name, port, child)
  return {
    name,
    port,
    pid: child.pid ?? 0,
    async stop() {
      // The whole process group: wrappers start the real server as a child of theirs.
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      await delay(300)
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function untilOpen(name: string, port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX
  while (performance.now() < deadline && child.exitCode === null) {
    if (await accepts(port)) return
    await delay(100)
  }
  throw new Error(`${name} did not listen on port ${port} within ${READY_MS_MAX} ms`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(!socket.destroy().connecting))
    socket.on('error', () => resolve(false))
  })
}
