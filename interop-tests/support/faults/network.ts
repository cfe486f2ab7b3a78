// Machines of a test: network namespaces with a network between them that can be cut, in one
// direction too, and made slow and lossy. Needs root, ip of iproute2, python3 and /dev/net/tun.
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Machine } from '../../../test/support/server.ts'
import type { Teardown } from '../../../test/support/temp-dir.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const WIRE = fileURLToPath(
  new URL('../../../../interop-tests/support/faults/wire.py', import.meta.url),
)
/** This process, in the namespace that it was started in. */
const HERE = 254

/** What becomes of packets from one machine to another. */
export interface Link {
  readonly isCut?: boolean
  readonly delayMs?: number
  /** Each packet waits up to so much longer: they overtake each other. */
  readonly jitterMs?: number
  /** Share of the packets. */
  readonly loss?: number
}

/** Why this machine cannot have them, or undefined when it can. */
export async function networkMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'network namespaces are of Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const name = `trivet-${process.pid}-probe`
  try {
    await run('ip', ['netns', 'add', name])
    await run('ip', ['netns', 'delete', name])
    // Nothing is asked of it: its own end is the end of its input.
    await run('python3', ['-c', "open('/dev/net/tun', 'rb+', buffering=0)"])
    return undefined
  } catch (error) {
    return `a network namespace with a device does not work here (${(error as Error).message.trim()})`
  }
}

export class Network {
  readonly machines: readonly Machine[]
  /** Of this process. */
  readonly host: string
  readonly #wire: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface
  /** Rejects when it ends. */
  readonly #ended: Promise<never>

  private constructor(hosts: readonly string[], names: readonly string[]) {
    this.host = hosts.at(-1)!
    this.machines = names.map((name, i) => ({
      host: hosts[i]!,
      within: ['ip', 'netns', 'exec', name],
    }))
    const words = [...names, '-'].map((name, i) => `${name}=${hosts[i]}`)
    this.#wire = spawn('python3', [WIRE, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#wire.stdout })
    this.#ended = once(this.#wire, 'exit').then(() => {
      throw new Error('the network between the machines is gone')
    })
    this.#ended.catch(() => {})
  }

  static async start(t: Teardown, count: number): Promise<Network> {
    const numbers = Array.from({ length: count }, (_, i) => i + 1)
    const names = numbers.map((n) => `trivet-${process.pid}-${n}`)
    t.teardown(async () => {
      for (const name of names) await run('ip', ['netns', 'delete', name]).catch(() => {})
    })
    for (const name of names) await run('ip', ['netns', 'add', name])
    // A network for tests of networks, which no other machine has (RFC 2544).
    const third = Math.floor(Math.random() * 256)
    const hosts = [...numbers, HERE].map((n) => `198.18.${third}.${n}`)
    const network = new Network(hosts, names)
    t.teardown(() => network.#close())
    await network.#answer()
    return network
  }

  /** From the one to the other; the way back is another link. */
  async link(from: string, to: string, link: Link): Promise<void> {
    this.#wire.stdin.write(`${JSON.stringify({ from, to, ...link })}\n`)
    await this.#answer()
  }

  /** Both ways between each of these and each of those. */
  async between(these: readonly string[], those: readonly string[], link: Link): Promise<void> {
    for (const one of these) {
      for (const other of those) {
        if (one === other) continue
        await this.link(one, other, link)
        await this.link(other, one, link)
      }
    }
  }

  /** All machines reach each other at once. */
  async heal(): Promise<void> {
    const hosts = this.machines.map(({ host }) => host)
    await this.between(hosts, hosts, {})
  }

  async #answer(): Promise<void> {
    await Promise.race([once(this.#lines, 'line'), this.#ended])
  }

  async #close(): Promise<void> {
    if (this.#wire.exitCode !== null) return
    const gone = once(this.#wire, 'exit')
    this.#wire.stdin.end()
    await gone
  }
}
