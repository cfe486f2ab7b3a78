// The unmodified ali-ons from npm in a process of its own.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { ForeignClient, processHost } from './foreign-client.ts'

const MAIN = fileURLToPath(new URL('./ali-ons-main.js', import.meta.url))

export interface AliOnsOptions {
  readonly role: 'produce' | 'consume'
  readonly nameServer: string
  readonly topic: string
  /** Of the producer or of the consumer. */
  readonly group?: string
  readonly tags?: readonly string[]
  readonly count?: number
  /** Each message is sent until it is acknowledged, with a pause before the next. */
  readonly isSteady?: boolean
  readonly body?: string
  readonly expression?: string
  readonly broadcast?: boolean
  /** The first deliveries of each message fail this often. */
  readonly failures?: number
  readonly accessKey?: string
  readonly secretKey?: string
}

export function aliOns(
  t: Pick<ExecutionContext, 'teardown'>,
  options: AliOnsOptions,
): ForeignClient {
  const child = spawn(process.execPath, [MAIN, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const client = new ForeignClient(processHost(child), `ali-ons ${options.role}`)
  t.teardown(() => client.kill())
  return client
}
